import assert from "node:assert/strict";
import { test } from "node:test";
import { createObservations, readObservations } from "@claviger/gateway-core/src/redis/observations.ts";
import type { RedisStore } from "@claviger/gateway-core/src/redis/client.ts";
import { clusterUid, keyId, nodeName } from "@claviger/proto/wire/names.ts";

const uid = clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RA");
const other = clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RB");
const node = nodeName.parse("node-1");
const id = keyId.parse(`clv1.${"a".repeat(43)}`);
const secret = Buffer.alloc(32, 7);

/** As much of Redis as the observations need. */
function fakeRedis() {
  const hashes = new Map<string, Record<string, string>>();
  const state = { writes: 0, isDown: false };
  const store = {
    put(key: string, field: string, value: string): Promise<void> {
      if (state.isDown) return Promise.reject(new Error("down"));
      state.writes += 1;
      hashes.set(key, { ...hashes.get(key), [field]: value });
      return Promise.resolve();
    },
    all: (key: string) => Promise.resolve(hashes.get(key) ?? {}),
  };
  return { hashes, state, redis: store as unknown as RedisStore };
}

test("an event is written once in ten seconds, with its first time and its last", async () => {
  const { redis, state } = fakeRedis();
  let now = 1000;
  const observations = createObservations({ redis, secret: () => secret, now: () => now });
  for (let i = 0; i < 100; i++) observations.record("reported", uid, node, id);
  assert.equal(state.writes, 1);
  now += 20_000;
  observations.record("reported", uid, node, id);
  assert.deepEqual(await readObservations(redis, secret, uid), [
    { event: "reported", node, keyId: id, since: 1000, at: 21_000 },
  ]);
});

test("forged, moved and foreign entries are left out", async () => {
  const { redis, hashes } = fakeRedis();
  createObservations({ redis, secret: () => secret, now: () => 1 }).record("decrypted", uid, node, id);
  const [field = "", value = ""] = Object.entries(hashes.get(`ledger:${uid}`) ?? {})[0] ?? [];
  hashes.set(`ledger:${uid}`, {
    [field.replace("node-1", "node-2")]: value,
    [`${field}x`]: value,
    nothing: "",
    half: value.slice(0, 20),
  });
  hashes.set(`ledger:${other}`, { [field]: value });
  assert.deepEqual(await readObservations(redis, secret, uid), []);
  assert.deepEqual(await readObservations(redis, secret, other), []);
  hashes.set(`ledger:${uid}`, { [field]: value });
  assert.deepEqual(await readObservations(redis, Buffer.alloc(32, 8), uid), []);
  assert.equal((await readObservations(redis, secret, uid)).length, 1);
});

test("a Redis that is away costs nothing and is written to again at once; without the key nothing is written", async () => {
  const { redis, state } = fakeRedis();
  let own: Uint8Array | undefined;
  const observations = createObservations({ redis, secret: () => own, now: () => 5 });
  observations.record("reported", uid, node, id);
  assert.equal(state.writes, 0);
  own = secret;
  state.isDown = true;
  observations.record("reported", uid, node, id);
  await new Promise(setImmediate);
  state.isDown = false;
  observations.record("reported", uid, node, id);
  assert.equal(state.writes, 1);
});
