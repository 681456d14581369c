// Approvals that are old are deleted, in each of the stores, and no other.
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pino } from "pino";
import { silentLog } from "@claviger/proto/runtime/log.ts";
import { idOf, newNonce, parsePending } from "../../../../gateway/fleet/src/approvals/pending.ts";
import { startSweep } from "../../../../gateway/fleet/src/approvals/sweep.ts";
import { openOnceDirectory } from "../../../../gateway/fleet/src/once-store.ts";

const day = 86_400;
const keepMs = 90 * day * 1000;

function askedAt(seconds: number) {
  const asked = {
    kinds: ["resume"],
    method: "setClusterState",
    request: "{}",
    targets: [],
    requestedBy: "ada",
    reason: "a test",
    askedAt: seconds,
    expiresAt: seconds + day,
    nonce: newNonce(),
  } as never;
  return { id: idOf(asked), asked };
}

test("those that were asked for before the time they are kept go, used or not, and no other", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "claviger-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const store = await openOnceDirectory(dir, parsePending);
  const now = Math.floor(Date.now() / 1000);
  const signal = new AbortController().signal;
  const [old, used, young] = [askedAt(now - 91 * day), askedAt(now - 100 * day), askedAt(now - 89 * day)];
  for (const { id, asked } of [old, used, young]) await store.add(id, asked, signal);
  await store.use(used.id, { usedAt: now - 99 * day }, signal);
  const { promise, resolve } = Promise.withResolvers<number>();
  const sweep = startSweep({ store, keepMs, log: silentLog, onRound: resolve });
  t.after(() => sweep.close());
  assert.equal(await promise, 2);
  assert.deepEqual(readdirSync(dir), [`${young.id}.json`]);
});

test("a store that lets nothing be deleted is said", async (t) => {
  const lines: string[] = [];
  const { promise, resolve } = Promise.withResolvers<number>();
  const { id } = askedAt(1000);
  const sweep = startSweep({
    store: { list: () => Promise.resolve([id]), remove: () => Promise.reject(new Error("denied")) },
    keepMs,
    log: pino({}, { write: (line: string) => void lines.push(line) }),
    onRound: resolve,
  });
  t.after(() => sweep.close());
  assert.equal(await promise, 0);
  assert.match(lines.join(), /approvals-kept/);
});
