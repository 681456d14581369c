import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createLockoutGuard } from "@claviger/gateway-core/src/backend/vault/lockout.ts";

test("a refused credential is tried again after 30 s, 5 min and then every 16 min; a new one at once; a good one always", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  t.after(() => rm(dir, { recursive: true }));
  const file = join(dir, "secret-id");
  await writeFile(file, "wrong");
  let now = 0;
  const guard = createLockoutGuard({ files: [file], now: () => now });
  for (const pause of [30, 300, 960, 960]) {
    assert.ok(await guard.mayTry());
    guard.tried(true);
    now += pause * 1000 - 1;
    assert.ok(!(await guard.mayTry()));
    now += 1;
  }
  assert.ok(await guard.mayTry());
  guard.tried(true);
  await writeFile(file, "a new one");
  assert.ok(await guard.mayTry());
  guard.tried(false);
  for (let i = 0; i < 3; i++) assert.ok(await guard.mayTry());
});

test("what has no file of its own cannot be locked out", async () => {
  const guard = createLockoutGuard({ files: [], now: () => 0 });
  guard.tried(true);
  assert.ok(await guard.mayTry());
});
