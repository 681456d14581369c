import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { test } from "node:test";
import { createBodies } from "@claviger/gateway-server/src/http/bodies.ts";

test("one node's large bodies beyond its rate are read later, another node's and small ones at once", async () => {
  const bodies = createBodies({ totalBytes: 64 * 2 ** 20, identityBytes: 64 * 2 ** 20, bodyMs: 5000 });
  const read = async (identity: string, bytes: number): Promise<number> => {
    const message = Object.assign(Readable.from([Buffer.alloc(bytes)]), {
      headers: { "content-length": String(bytes) },
    }) as unknown as IncomingMessage;
    const began = performance.now();
    const { signal } = new AbortController();
    assert.equal((await bodies.read(message, { identity, limit: 2 ** 20, signal })).length, bytes);
    return performance.now() - began;
  };
  // The reserve, and four more: half a second's worth.
  const took = await Promise.all(Array.from({ length: 12 }, () => read("greedy", 2 ** 20)));
  assert.ok(Math.max(...took) >= 350, String(took));
  const others = await Promise.all([read("modest", 2 ** 20), read("greedy", 1024)]);
  assert.ok(Math.max(...others) < Math.max(...took), String(others));
});
