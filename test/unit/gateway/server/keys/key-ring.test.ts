// Many keys: what they cost the backend, and what those cost that nobody asks for.
import assert from "node:assert/strict";
import { setImmediate as nextTurn } from "node:timers/promises";
import { test, type TestContext } from "node:test";
import { createKeyRing, type KeyRing } from "@claviger/gateway-server/src/keys/key-ring.ts";
import { createNoOpKeyCache } from "@claviger/gateway-server/src/keys/shared-key-cache.ts";
import type { KeyRef } from "@claviger/gateway-core/src/backend/port.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { clusterName, keyName } from "@claviger/proto/wire/names.ts";
import { cluster, createFakeBackend, type FakeBackend, ref, silent } from "../../fakes.ts";

function clusterOf(i: number): ClusterRecord {
  return cluster({ name: clusterName.parse(`c${i}`), keys: [{ ...ref, key: keyName.parse(`k${i}`) }] });
}

type Site = {
  readonly ring: KeyRing;
  readonly backend: FakeBackend;
  readonly pass: (milliseconds: number) => Promise<void>;
};

/** A ring whose clock and timers are the test's. */
function start(t: TestContext, using: (key: KeyRef) => readonly ClusterRecord[] = () => [clusterOf(0)]): Site {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let clock = 1_000_000;
  const backend = createFakeBackend();
  backend.state = { ...backend.state, minEncryption: 1 };
  const ring = createKeyRing({
    backends: new Map([[backend.name, backend]]),
    using,
    sharedCache: createNoOpKeyCache(),
    refreshMs: 10_000,
    canaryMs: 3_600_000,
    log: silent,
    now: () => clock,
  });
  t.after(() => ring.close());
  const pass = async (milliseconds: number): Promise<void> => {
    const stepMs = 1000;
    for (let passed = 0; passed < milliseconds; passed += stepMs) {
      clock += stepMs;
      t.mock.timers.tick(stepMs);
      for (let turn = 0; turn < 20; turn += 1) await nextTurn();
    }
  };
  return { ring, backend, pass };
}

test("a few keys are read each interval; two thousand cost 50 requests a second, each is looked at less often", async (t) => {
  const { ring, backend, pass } = start(t);
  const all = Array.from({ length: 2000 }, (_, i) => clusterOf(i));
  const readsIn = async (seconds: number): Promise<number> => {
    const before = backend.calls.describe;
    await pass(seconds * 1000);
    return (backend.calls.describe - before) / seconds;
  };
  await Promise.all(all.slice(0, 10).map((record) => ring.promoted(record)));
  assert.equal(ring.intervalMs(), 10_000);
  const few = await readsIn(40);
  assert.ok(few >= 0.9 && few <= 1.5, String(few));
  await Promise.all(all.map((record) => ring.promoted(record)));
  await pass(1000);
  // A canary, of two requests, comes with each 360th read.
  assert.equal(Math.round(ring.intervalMs()), 40_222);
  // The polls that were set before there were so many.
  await pass(50_000);
  const many = await readsIn(80);
  assert.ok(many >= 40 && many <= 60, String(many));
});

test("a key that nobody asks for is not read, and is read again when somebody does", async (t) => {
  const { ring, backend, pass } = start(t);
  await ring.promoted(clusterOf(1));
  await pass(11 * 60_000);
  const before = backend.calls.describe;
  await pass(60_000);
  assert.equal(backend.calls.describe, before);
  assert.equal((await ring.promoted(clusterOf(1))).keys[0]?.version, 1);
  await pass(1000);
  assert.ok(backend.calls.describe > before);
  const again = backend.calls.describe;
  await pass(30_000);
  assert.ok(backend.calls.describe >= again + 2, "and from then on");
});

test("a key that no cluster of this gateway uses any more is neither read nor tried nor counted, until one does again", async (t) => {
  let isServed = true;
  const { ring, backend, pass } = start(t, () => (isServed ? [clusterOf(1)] : []));
  const sum = (): number => Object.values(backend.calls).reduce((all, count) => all + count, 0);
  await ring.promoted(clusterOf(1));
  await pass(30_000);
  assert.ok(sum() > 3);
  isServed = false;
  await pass(1000);
  const before = sum();
  await pass(120_000);
  assert.equal(sum(), before, "left alone though it was asked for less than ten minutes ago");
  isServed = true;
  await ring.promoted(clusterOf(1));
  await pass(30_000);
  assert.ok(sum() >= before + 3, "and from then on as before");
});
