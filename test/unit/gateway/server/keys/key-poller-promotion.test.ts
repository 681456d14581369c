// A promotion that somebody else disturbs: a claimant that died, another writer, news at a bad moment.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import {
  createKeyPoller,
  type KeyPoller,
  type KeyPollerOptions,
} from "@claviger/gateway-server/src/keys/key-poller.ts";
import { createNoOpKeyCache, type SharedKeyCache } from "@claviger/gateway-server/src/keys/shared-key-cache.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { pino } from "pino";
import { createFakeBackend, type FakeBackend, failWith, ref, silent } from "../../fakes.ts";

function start(
  t: TestContext,
  backend: FakeBackend,
  sharedCache: SharedKeyCache,
  options: Partial<KeyPollerOptions> = {},
): KeyPoller {
  const poller = createKeyPoller({
    backend,
    ref,
    isAuto: () => true,
    sharedCache,
    refreshMs: 3_600_000,
    canaryMs: 3_600_000,
    log: silent,
    ...options,
  });
  t.after(() => poller.close());
  return poller;
}

/** Resolves when the backend has been written to so often. */
function promotions(backend: FakeBackend, count: number): Promise<void> {
  return new Promise((resolve) => {
    const promote = backend.promote.bind(backend);
    backend.promote = async (...given) => {
      await promote(...given);
      if (backend.state.minEncryption === count) resolve();
    };
  });
}

test("others hear of a new version before it is claimed", async (t) => {
  const events: string[] = [];
  const backend = createFakeBackend();
  const poller = start(t, backend, {
    ...createNoOpKeyCache(),
    announce: () => Promise.resolve(void events.push("announce")),
    tryAcquire: (name) => Promise.resolve(void events.push(name.split(":")[0] ?? "")).then(() => true),
  });
  await poller.view();
  backend.addVersion(2000);
  await poller.refresh(true);
  assert.deepEqual(
    events.filter((event) => event === "announce" || event === "promote"),
    ["announce", "promote"],
  );
});

test("a replica that was denied promotes when the lease of the one that died has ended", async (t) => {
  const backend = createFakeBackend();
  let claims = 0;
  let leaseMs = 0;
  const poller = start(t, backend, {
    ...createNoOpKeyCache(),
    tryAcquire(name, milliseconds) {
      if (!name.startsWith("promote:")) return Promise.resolve(true);
      leaseMs = milliseconds;
      claims += 1;
      return Promise.resolve(claims > 1);
    },
  });
  await poller.view();
  backend.addVersion(2000);
  const done = promotions(backend, 2);
  const began = performance.now();
  await poller.refresh(true);
  assert.equal(backend.state.minEncryption, 1);
  await done;
  assert.ok(leaseMs <= 500, `a lease of ${leaseMs} ms`);
  assert.equal(claims, 2);
  assert.ok(performance.now() - began >= leaseMs - 50);
});

test("a lease that never ends delays a promotion by about a second, whatever Redis says", async (t) => {
  const backend = createFakeBackend();
  let claims = 0;
  const poller = start(t, backend, {
    ...createNoOpKeyCache(),
    tryAcquire: (name) => Promise.resolve(!name.startsWith("promote:") || (claims++, false)),
  });
  await poller.view();
  backend.addVersion(2000);
  const done = promotions(backend, 2);
  await poller.refresh(true);
  await done;
  assert.ok(claims >= 2 && claims <= 4, `${claims} claims`);
});

test("a write that another one's write made fail is repeated at once", async (t) => {
  const backend = createFakeBackend();
  const poller = start(t, backend, createNoOpKeyCache());
  await poller.view();
  backend.addVersion(2000);
  let conflicts = 3;
  backend.before = (operation) => {
    if (operation === "promote" && conflicts-- > 0) throw new KmsError("backend_protocol_error");
  };
  await poller.refresh(true);
  assert.equal((await poller.view()).promoted.version, 2);
});

test("news that arrive during a poll wait for it, and the key is polled once more", async (t) => {
  const backend = createFakeBackend();
  const poller = start(t, backend, createNoOpKeyCache());
  await poller.view();
  const reached = Promise.withResolvers<void>();
  const resume = Promise.withResolvers<void>();
  backend.before = async (operation) => {
    if (operation !== "describe") return;
    reached.resolve();
    await resume.promise;
  };
  const first = poller.refresh(true);
  await reached.promise;
  // The poll under way has read the key already: it cannot see this.
  backend.addVersion(2000);
  const news = poller.refresh(false);
  resume.resolve();
  await Promise.all([first, news]);
  assert.equal((await poller.view()).promoted.version, 2);
});

test("a replica of the backend that lags behind is no restored backup: no rotation, no refusal, no alarm", async (t) => {
  for (const isAuto of [true, false]) {
    const backend = createFakeBackend();
    const logged: string[] = [];
    const log = pino({ level: "warn" }, { write: (line: string) => void logged.push(line) });
    const poller = start(t, backend, createNoOpKeyCache(), { isAuto: () => isAuto, log });
    await poller.view();
    const old = backend.state;
    backend.state = { ...old, latest: 2, minEncryption: 2, versions: new Map([...old.versions, [2, 2000]]) };
    await poller.refresh(true);
    backend.behind = old;
    await poller.refresh(true);
    assert.equal((await poller.view()).promoted.version, 2);
    // The active one is away: then nobody knows, which is an outage.
    backend.isCutOff = true;
    for (let polls = 0; polls < 3; polls++) await poller.refresh(true);
    const { promoted, isLost } = await poller.view();
    assert.deepEqual([promoted.version, isLost], [2, undefined]);
    assert.deepEqual([backend.calls.rotate, backend.state.minEncryption], [0, 2]);
    assert.deepEqual(
      logged.map((line) => (JSON.parse(line) as { event: string }).event),
      ["key-unreadable"],
    );
  }
});

test("a version that a lagging replica shows as the newest is not written over a newer one", async (t) => {
  const backend = createFakeBackend();
  const poller = start(t, backend, createNoOpKeyCache());
  await poller.view();
  backend.addVersion(2000);
  backend.behind = backend.state;
  backend.addVersion(3000);
  backend.state = { ...backend.state, minEncryption: 3 };
  await poller.refresh(true);
  assert.equal(backend.state.minEncryption, 3);
  assert.equal((await poller.view()).promoted.version, 3);
});

test("a backend that goes back again and again is rotated once an hour, and alarms otherwise", async (t) => {
  const backend = createFakeBackend();
  let now = 1_000_000_000;
  const poller = start(t, backend, createNoOpKeyCache(), { now: () => (now += 1000) });
  await poller.view();
  const backup = backend.state;
  const restore = async (): Promise<void> => {
    backend.state = backup;
    await poller.refresh(true);
  };
  backend.addVersion(2000);
  await poller.refresh(true);
  await restore();
  const made = backend.calls.rotate;
  assert.ok(made > 0 && (await poller.view()).isLost === undefined);
  for (let times = 0; times < 3; times++) await restore();
  assert.equal(backend.calls.rotate, made);
  assert.equal((await poller.view()).isLost, true);
  now += 3_600_000;
  await restore();
  assert.ok(backend.calls.rotate > made);
});

test("a promotion that fails at each try is one line, another reason is another, and so is the next time", async (t) => {
  const events: string[] = [];
  const log = pino({ level: "warn" }, { write: (line: string) => void events.push(line) });
  const failed = (): number => events.filter((line) => line.includes('"promotion-failed"')).length;
  const backend = createFakeBackend();
  const poller = start(t, backend, createNoOpKeyCache(), { log, refreshMs: 20 });
  await poller.view();
  const refuse = (reason: "backend_denied" | "backend_protocol_error"): void => {
    backend.before = failWith(reason, "promote");
  };
  refuse("backend_denied");
  backend.addVersion(2000);
  assert.equal(poller.isUnpromoted(), false);
  for (let i = 0; i < 3; i++) await poller.refresh(true);
  assert.equal(failed(), 1);
  assert.equal(poller.isUnpromoted(), true);
  assert.deepEqual(poller.failures(), [{ version: 2, what: "promote" }]);
  refuse("backend_protocol_error");
  for (let i = 0; i < 2; i++) await poller.refresh(true);
  assert.equal(failed(), 2);
  backend.before = () => Promise.resolve();
  await poller.refresh(true);
  assert.equal((await poller.view()).promoted.version, 2);
  assert.equal(poller.isUnpromoted(), false);
  refuse("backend_denied");
  backend.addVersion(3000);
  await poller.refresh(true);
  assert.equal(failed(), 3);
});

test("a backend that ignores associated data gets no version promoted, and no view", async (t) => {
  const backend = createFakeBackend();
  const honest = backend.unwrap.bind(backend);
  backend.unwrap = async (key, items, signal) => {
    const [first] = items;
    const associatedData = first?.associatedData ?? Buffer.alloc(0);
    return await honest(
      key,
      items.map((item) => ({ ...item, associatedData })),
      signal,
    );
  };
  const poller = start(t, backend, createNoOpKeyCache());
  await assert.rejects(poller.view(), (error: unknown) => {
    assert.ok(error instanceof KmsError && error.cause instanceof Error);
    assert.match(error.cause.message, /ignores associated data: Vault 1\.13 or newer/);
    return true;
  });
  assert.equal(backend.calls.promote, 0);
});
