import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { errorOf } from "@claviger/console/src/api/failure.ts";
import { createFrameReader, encodeFrame } from "@claviger/console/src/api/frames.ts";

suite("a stream of Connect", () => {
  test("messages are whole, however the bytes come", () => {
    const messages = [{ kind: "heartbeat" }, { reason: "ä€ and more" }, {}];
    const end = encodeFrame({ error: { code: "unavailable" } });
    end[0] = 2;
    const bytes = Buffer.concat([...messages.map(encodeFrame), end]);
    for (const size of [1, 3, 7, bytes.length]) {
      const read = createFrameReader();
      const frames = [];
      for (let i = 0; i < bytes.length; i += size) frames.push(...read(bytes.subarray(i, i + size)));
      assert.deepEqual(
        frames.map(({ json }) => json),
        [...messages, { error: { code: "unavailable" } }],
      );
      assert.deepEqual(
        frames.map(({ isEnd }) => isEnd),
        [false, false, false, true],
      );
    }
  });

  test("a message that says that it is a gigabyte is not waited for", () => {
    assert.throws(() => createFrameReader()(new Uint8Array([0, 0x40, 0, 0, 0])), RangeError);
  });

  test("an error has its code and its message, and what it waits for", () => {
    const details = [
      { type: "claviger.fleet.v1.ApprovalNeeded", value: "", debug: { id: "AP-1", expiresAt: "2026-11-28T00:00:00Z" } },
    ];
    const { code, message, approval } = errorOf({ code: "failed_precondition", message: "wait", details }, 400);
    assert.deepEqual([code, message], ["failed_precondition", "wait"]);
    assert.deepEqual(approval, { id: "AP-1", expiresAt: "2026-11-28T00:00:00Z" });
  });

  test("a body that says nothing is an error all the same", () => {
    for (const body of [undefined, null, "no", 7, [], { code: 5, details: "x" }]) {
      assert.equal(errorOf(body, 502).code, "unknown");
      assert.equal(errorOf(body, 401).code, "unauthenticated");
    }
  });
});
