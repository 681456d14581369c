import assert from "node:assert/strict";
import { test } from "node:test";
import { createObservations, readObservations } from "@claviger/gateway-core/src/redis/observations.ts";
import { clusterUid, keyId, nodeName } from "@claviger/proto/wire/names.ts";
import { createFakeRedis } from "./fakes.ts";

const uid = clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RA");
const other = clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RB");
const node = nodeName.parse("node-1");
const id = keyId.parse(`clv1.${"a".repeat(43)}`);
const secret = Buffer.alloc(32, 7);

test("an event is written once in ten seconds, with its first time and its last", async () => {
  const server = createFakeRedis();
  const redis = server.open();
  let now = 1000;
  const observations = createObservations({ redis, secret: () => secret, now: () => now });
  for (let i = 0; i < 100; i++) observations.record("reported", uid, node, id);
  await new Promise(setImmediate);
  assert.equal(server.writes, 1);
  now += 20_000;
  observations.record("reported", uid, node, id);
  await new Promise(setImmediate);
  assert.deepEqual(await readObservations(redis, secret, uid), [
    { event: "reported", node, keyId: id, since: 1000, at: 21_000 },
  ]);
});

test("forged, moved and foreign entries are left out", async () => {
  const server = createFakeRedis();
  const redis = server.open();
  createObservations({ redis, secret: () => secret, now: () => 1 }).record("decrypted", uid, node, id);
  await new Promise(setImmediate);
  const [field = "", value = ""] = Object.entries(server.hash(`ledger:${uid}`))[0] ?? [];
  server.setHash(`ledger:${uid}`, {
    [field.replace("node-1", "node-2")]: value,
    [`${field}x`]: value,
    nothing: "",
    half: value.slice(0, 20),
  });
  server.setHash(`ledger:${other}`, { [field]: value });
  assert.deepEqual(await readObservations(redis, secret, uid), []);
  assert.deepEqual(await readObservations(redis, secret, other), []);
  server.setHash(`ledger:${uid}`, { [field]: value });
  assert.deepEqual(await readObservations(redis, Buffer.alloc(32, 8), uid), []);
  assert.equal((await readObservations(redis, secret, uid)).length, 1);
});

test("a Redis that is away costs nothing and is written to again at once; without the key nothing is written", async () => {
  const server = createFakeRedis();
  const redis = server.open();
  let own: Uint8Array | undefined;
  const observations = createObservations({ redis, secret: () => own, now: () => 5 });
  observations.record("reported", uid, node, id);
  await new Promise(setImmediate);
  assert.equal(server.writes, 0);
  own = secret;
  server.isAway = true;
  observations.record("reported", uid, node, id);
  await new Promise(setImmediate);
  server.isAway = false;
  observations.record("reported", uid, node, id);
  await new Promise(setImmediate);
  assert.equal(server.writes, 1);
});

test("the first time is the first of any gateway, also of one that was started anew", async () => {
  const redis = createFakeRedis().open();
  let now = 1000;
  for (const at of [1000, 50_000, 90_000]) {
    now = at;
    createObservations({ redis, secret: () => secret, now: () => now }).record("reported", uid, node, id);
    await new Promise(setImmediate);
    assert.deepEqual(await readObservations(redis, secret, uid), [
      { event: "reported", node, keyId: id, since: 1000, at },
    ]);
  }
});
