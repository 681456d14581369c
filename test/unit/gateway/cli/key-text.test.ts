import assert from "node:assert/strict";
import { test } from "node:test";
import { formatKeys, refreshOf } from "@claviger/cli/src/key/report.ts";
import type { KeyState } from "@claviger/gateway-core/src/backend/port.ts";
import { keysMessage } from "@claviger/gateway-core/src/registry/key-message.ts";
import { cluster, ref } from "../fakes.ts";

function keysOf(state: Omit<KeyState, "versions">, createdAt: Readonly<Record<number, number>>, maxAgeMs?: number) {
  const versions = new Map(Object.entries(createdAt).map(([version, at]) => [Number(version), at]));
  return keysMessage(cluster(), ref, { ...state, versions }, { now: 200_000_000, maxAgeMs });
}

test("versions of which Transit tells nothing any more are shown as retired", () => {
  const keys = keysOf({ latest: 5, minEncryption: 5, minDecryption: 4 }, { 4: 1000, 5: 2000 });
  assert.match(formatKeys(keys), /^1 to 3 +retired\n4 +1970\S+Z +2d +decrypts\n5 +1970\S+Z +2d +encrypts$/m);
  const one = keysOf({ latest: 2, minEncryption: 2, minDecryption: 2 }, { 2: 1000 });
  assert.match(formatKeys(one), /^1 +retired\n2 /m);
});

test("an embedded key, which tells of them all, shows each once", () => {
  const keys = keysOf({ latest: 3, minEncryption: 2, minDecryption: 2 }, { 1: 1000, 2: 2000, 3: 199_990 });
  assert.match(
    formatKeys(keys),
    /^1 +1970\S+ +2d +retired\n2 +1970\S+ +2d +encrypts\n3 +1970\S+ +10s +waits for promotion$/m,
  );
  assert.deepEqual(
    keys.versions.map(({ state }) => state),
    ["retired", "encrypts", "waits"],
  );
});

test("a key of which nothing is promoted has neither key_id nor hash", () => {
  const keys = keysOf({ latest: 1, minEncryption: 0, minDecryption: 1 }, { 1: 1000 });
  assert.deepEqual([keys.keyId, keys.keyIdHash], ["", ""]);
  assert.doesNotMatch(formatKeys(keys), /^hash/m);
  assert.match(formatKeys(keys), /^key_id +none: no version is promoted yet/m);
});

test("a version that encrypts for longer than the policy allows is warned of, and no other", () => {
  const day = 86_400_000;
  const state = { latest: 2, minEncryption: 2, minDecryption: 1 };
  const young = keysOf(state, { 1: 1000, 2: 100_000 }, 2 * day);
  assert.equal(young.warning, "");
  const old = keysOf(state, { 1: 1000, 2: 20_000 }, 2 * day);
  assert.match(old.warning, /^version 2 encrypts and is 2 days old; the policy allows 2 days: claviger key rotate /);
  assert.match(formatKeys(old), /^WARNING +version 2 encrypts/m);
  assert.equal(keysOf(state, { 1: 1000, 2: 20_000 }).warning, "");
});

test("how often the key is read is said by gateways, else by the configuration, else not known", () => {
  const keys = keysOf({ latest: 1, minEncryption: 1, minDecryption: 1 }, { 1: 1000 });
  const heard = { seconds: 200.04, gateways: ["http://10.0.0.1:9090"] };
  const byWord = refreshOf(heard, 10_000);
  assert.deepEqual(byWord, { everySeconds: 200, seenWithinSeconds: 201, gateways: heard.gateways });
  assert.match(
    formatKeys(keys, byWord),
    /^read +every 200 s by the word of http:\/\/10\.0\.0\.1:9090; a rotation .* within 201 s$/m,
  );
  const byConfig = refreshOf(undefined, 500);
  assert.deepEqual(byConfig, { everySeconds: 0.5, seenWithinSeconds: 1.5, gateways: [] });
  assert.match(formatKeys(keys, byConfig), /^read +every 0\.5 s by the configuration, .* within 1\.5 s at best$/m);
  assert.equal(refreshOf(undefined, undefined), undefined);
  assert.match(formatKeys(keys, undefined), /^read +not known: no gateway was heard/m);
  assert.doesNotMatch(formatKeys(keys), /^read/m);
});
