import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { createNoOpKeyCache, type SharedKeyCache } from "@claviger/gateway-server/src/keys/shared-key-cache.ts";
import { createKeyPoller, type KeyPoller } from "@claviger/gateway-server/src/keys/key-poller.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { createFakeBackend, type FakeBackend, failWith, ref, silent } from "../../fakes.ts";

function track(
  t: TestContext,
  backend: FakeBackend,
  options: { isAuto?: boolean; sharedCache?: SharedKeyCache; canaryMs?: number } = {},
): KeyPoller {
  const poller = createKeyPoller({
    backend,
    ref,
    isAuto: () => options.isAuto ?? true,
    sharedCache: options.sharedCache ?? createNoOpKeyCache(),
    refreshMs: 3_600_000,
    canaryMs: options.canaryMs ?? 3_600_000,
    log: silent,
  });
  t.after(() => poller.close());
  return poller;
}
function hasReason(reason: string) {
  return (error: unknown) => error instanceof KmsError && error.reason === reason;
}

test("a fresh key gets its latest version tried and promoted at first use", async (t) => {
  const backend = createFakeBackend();
  const view = await track(t, backend).view();
  assert.deepEqual(view, { promoted: { version: 1, createdAt: 1000 } });
  assert.equal(backend.state.minEncryption, 1);
  assert.ok(backend.calls.wrap >= 1 && backend.calls.unwrap >= 1);
});

test("a hundred first views are one flight", async (t) => {
  const backend = createFakeBackend();
  const poller = track(t, backend);
  await Promise.all(Array.from({ length: 100 }, () => poller.view()));
  assert.equal(backend.calls.promote, 1);
  assert.equal(backend.calls.describe, 3);
});

test("without the permission to promote, a key at 0 is not served and the error says what to do", async (t) => {
  const backend = createFakeBackend();
  backend.before = failWith("backend_denied", "promote");
  await assert.rejects(track(t, backend).view(), hasReason("key_unpinned"));
});

test("without the permission to promote, an automatic rotation keeps the version that works", async (t) => {
  const backend = createFakeBackend();
  const poller = track(t, backend);
  await poller.view();
  backend.addVersion(2000);
  backend.before = failWith("backend_denied", "promote");
  await poller.refresh(true);
  assert.equal((await poller.view()).promoted.version, 1);
});

test("a version that cannot be decrypted with is never promoted", async (t) => {
  const backend = createFakeBackend();
  const poller = track(t, backend);
  await poller.view();
  backend.addVersion(2000);
  backend.before = failWith("backend_denied", "unwrap");
  await poller.refresh(true);
  assert.equal((await poller.view()).promoted.version, 1);
  assert.equal(backend.state.minEncryption, 1);
});

test("two promoters, the slower one paused before its write: nobody goes back", async (t) => {
  const backend = createFakeBackend();
  const [fast, slow] = [track(t, backend), track(t, backend)];
  await Promise.all([fast.view(), slow.view()]);
  backend.addVersion(2000);
  const reached = Promise.withResolvers<void>();
  const resume = Promise.withResolvers<void>();
  let isFirst = true;
  backend.before = async (operation) => {
    if (operation !== "promote" || !isFirst) return;
    isFirst = false;
    reached.resolve();
    await resume.promise;
  };
  const slowly = slow.refresh(true);
  await reached.promise;
  backend.addVersion(3000);
  await fast.refresh(true);
  assert.equal((await fast.view()).promoted.version, 3);
  assert.equal(backend.state.minEncryption, 3);
  resume.resolve();
  await slowly;
  assert.equal((await slow.view()).promoted.version, 3);
  assert.equal(backend.state.minEncryption, 3);
});

test("a value lowered by somebody else is raised again", async (t) => {
  const backend = createFakeBackend();
  backend.addVersion(2000);
  const poller = track(t, backend, { isAuto: false });
  assert.equal((await poller.view()).promoted.version, 2);
  backend.state = { ...backend.state, minEncryption: 1 };
  await poller.refresh(true);
  assert.equal((await poller.view()).promoted.version, 2);
  assert.equal(backend.state.minEncryption, 2);
});

test("an outage keeps the last version and says since when; a refusal is passed on at once", async (t) => {
  const backend = createFakeBackend();
  const poller = createKeyPoller({
    backend,
    ref,
    isAuto: () => true,
    sharedCache: createNoOpKeyCache(),
    refreshMs: 1,
    canaryMs: 3_600_000,
    log: silent,
  });
  t.after(() => poller.close());
  await poller.view();
  backend.before = failWith("backend_sealed");
  const before = Date.now();
  await poller.refresh(true);
  const view = await poller.view();
  assert.equal(view.promoted.version, 1);
  assert.ok(view.staleSince !== undefined && view.staleSince <= Date.now() && view.staleSince >= before - 1000);
  backend.before = failWith("key_missing");
  await poller.refresh(true);
  await assert.rejects(poller.view(), hasReason("key_missing"));
  backend.before = () => {};
  await poller.refresh(true);
  assert.equal((await poller.view()).staleSince, undefined);
});

test("a restored backend: auto rotates to a version that never was, manual waits for an operator", async (t) => {
  for (const isAuto of [true, false]) {
    const backend = createFakeBackend();
    const backup = { ...backend.state, minEncryption: 1 };
    const poller = track(t, backend, { isAuto });
    await poller.view();
    backend.addVersion(2000);
    backend.state = { ...backend.state, minEncryption: 2 };
    await poller.refresh(true);
    assert.equal((await poller.view()).promoted.version, 2);
    backend.state = backup;
    await poller.refresh(true);
    // Up to a version that was never shown: the order of epochs knows no creation times.
    assert.equal(backend.calls.rotate, isAuto ? 2 : 0);
    const { promoted } = await poller.view();
    assert.equal(promoted.createdAt, isAuto ? 21_000 : 2000);
  }
});

test("a promoted version that stops decrypting is named", async (t) => {
  const backend = createFakeBackend();
  const poller = track(t, backend, { canaryMs: 0 });
  await poller.view();
  backend.before = failWith("backend_denied", "unwrap");
  await poller.refresh(true);
  assert.equal((await poller.view()).failing, "decrypt");
  backend.before = () => {};
  await poller.refresh(true);
  assert.equal((await poller.view()).failing, undefined);
});

test("a version that is refused because another replica has just promoted a newer one is no failure", async (t) => {
  const backend = createFakeBackend();
  const poller = track(t, backend, { canaryMs: 0 });
  await poller.view();
  let isFirst = true;
  backend.before = (operation) => {
    if (operation !== "wrap" || !isFirst) return;
    isFirst = false;
    backend.state = { ...backend.state, minEncryption: backend.addVersion(2000) };
  };
  await poller.refresh(true);
  assert.equal(isFirst, false, "the canary was tried");
  assert.equal((await poller.view()).failing, undefined);
  await poller.refresh(true);
  assert.equal((await poller.view()).promoted.version, 2);
});

test("a version made in the same second as the lost one is above it, and so has another key_id", async (t) => {
  const backend = createFakeBackend();
  const seconds = (): number => Math.floor(Date.now() / 1000);
  backend.rotate = () => Promise.resolve(backend.addVersion(seconds()));
  const poller = track(t, backend);
  await poller.view();
  backend.addVersion(seconds());
  await poller.refresh(true);
  const before = (await poller.view()).promoted;
  assert.equal(before.version, 2);
  backend.state = { versions: new Map([[1, before.createdAt]]), latest: 1, minEncryption: 0, minDecryption: 1 };
  await poller.refresh(true);
  const after = (await poller.view()).promoted;
  assert.equal(after.version, before.version + 1);
});

test("a key that came back more than a hundred versions older waits until the generation is raised", async (t) => {
  const backend = createFakeBackend();
  const backup = { ...backend.state, minEncryption: 1 };
  let generation = 0;
  const poller = createKeyPoller({
    backend,
    ref,
    isAuto: () => true,
    generation: () => generation,
    sharedCache: createNoOpKeyCache(),
    refreshMs: 3_600_000,
    canaryMs: 3_600_000,
    log: silent,
  });
  t.after(() => poller.close());
  backend.state = { versions: new Map([[200, 2000]]), latest: 200, minEncryption: 200, minDecryption: 1 };
  assert.equal((await poller.view()).promoted.version, 200);
  backend.state = backup;
  await poller.refresh(true);
  assert.equal((await poller.view()).isLost, true);
  assert.equal(backend.calls.rotate, 0);
  generation = 1;
  await poller.refresh(true);
  assert.deepEqual(await poller.view(), { promoted: { version: 1, createdAt: 1000 } });
});
