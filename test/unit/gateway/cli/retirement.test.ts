import assert from "node:assert/strict";
import { test } from "node:test";
import { countUsage, type Usage } from "@claviger/cli/src/usage/count.ts";
import type { Entry } from "@claviger/cli/src/usage/etcd.ts";
import { type Counted, reasonsAgainst, type Retirement } from "@claviger/cli/src/usage/retirement.ts";
import { readStored } from "@claviger/cli/src/usage/etcd-value.ts";
import { encodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import { deriveKeyId, keyPath } from "@claviger/gateway-core/src/key/key-id.ts";
import type { Observation } from "@claviger/gateway-core/src/redis/observations.ts";
import { clusterName, clusterUid } from "@claviger/proto/wire/names.ts";
import { encodeStored } from "../../../demo/stored.ts";
import { cluster, ref } from "../fakes.ts";

const mine = cluster();
const theirs = cluster({ name: clusterName.parse("other"), uid: clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RB") });
function keyIdOf(version: number, { uid } = mine) {
  return deriveKeyId(uid, [{ ref, version, createdAt: version * 1000 }]);
}
function envelope(version: number, record = mine): Uint8Array {
  return encodeEnvelope({
    clusterUid: record.uid,
    keyId: keyIdOf(version, record),
    wraps: [{ backend: ref.backend, key: keyPath(ref), version, ciphertext: Buffer.alloc(60, version) }],
  });
}
function v2(version: number, record = mine, keyId: string = keyIdOf(version, record)): Buffer {
  return Buffer.from(
    encodeStored({
      provider: "kms",
      encryptedData: Buffer.alloc(80),
      keyId,
      encryptedDekSource: envelope(version, record),
      annotations: {},
    }),
  );
}
function v1(version: number): Buffer {
  const cipher = envelope(version);
  return Buffer.concat([
    Buffer.from("k8s:enc:kms:v1:old:"),
    Buffer.of(cipher.length >> 8, cipher.length & 255),
    cipher,
    Buffer.alloc(40),
  ]);
}
async function* entries(values: readonly Buffer[]): AsyncGenerator<Entry> {
  for (const [i, value] of values.entries())
    yield await Promise.resolve({ key: `/registry/secrets/default/s${i}`, value });
}

test("a stored value tells which key it needs, and garbage is damaged, never plain", () => {
  assert.equal(readStored(Buffer.from("k8s\0...")).kind, "plain");
  assert.equal(readStored(Buffer.alloc(0)).kind, "plain");
  assert.deepEqual(readStored(Buffer.from("k8s:enc:aescbc:v1:key1:xxxx")), { kind: "other", transformer: "aescbc:v1" });
  const stored = readStored(v2(3));
  assert.ok(stored.kind === "kms" && stored.keyId === keyIdOf(3) && stored.provider === "kms");
  assert.deepEqual(Buffer.from(stored.ciphertext), Buffer.from(envelope(3)));
  const old = readStored(v1(3));
  assert.ok(old.kind === "kms" && old.keyId === undefined);
  assert.deepEqual(Buffer.from(old.ciphertext), Buffer.from(envelope(3)));
  for (const bad of [
    v2(3).subarray(0, 60),
    v1(3).subarray(0, 40),
    Buffer.from("k8s:enc:kms:v9:x:y"),
    Buffer.from("k8s:enc:kms:v2:x:"),
    Buffer.from("k8s:enc:"),
  ])
    assert.equal(readStored(bad).kind, "damaged", bad.toString("latin1"));
});

test("objects are counted by version; what is not ours, not encrypted or not readable is counted apart", async () => {
  const foreign = encodeStored({
    provider: "kms",
    encryptedData: Buffer.alloc(1),
    keyId: "k",
    encryptedDekSource: Buffer.from("xyz"),
    annotations: {},
  });
  const values = [
    v2(1),
    v2(1),
    v1(1),
    v2(2),
    v2(1, theirs),
    Buffer.from("plain"),
    Buffer.from(foreign),
    v2(1, mine, keyIdOf(2)),
    v2(2).subarray(0, 70),
  ];
  const usage = await countUsage(entries(values));
  assert.deepEqual(
    usage.uses.map(({ clusterUid: uid, version, count }) => [uid, version, count]),
    [
      [mine.uid, 1, 3],
      [theirs.uid, 1, 1],
      [mine.uid, 2, 1],
    ],
  );
  assert.deepEqual([usage.plain, [...usage.others.values()], usage.damaged.length], [1, [1], 2]);
});

const now = 1_000_000_000;
function shown(node: string, version: number, ago: number, since = 3600_000): Observation {
  return {
    event: "reported",
    node,
    keyId: keyIdOf(version),
    at: now - ago,
    since: now - since,
  };
}
const clean: Usage = await countUsage(entries([v2(2)]));
function counted(change: Partial<Counted> = {}): Counted {
  return {
    record: mine,
    usage: clean,
    keyId: keyIdOf(2),
    retiring: new Set([keyIdOf(1)]),
    nodes: { kind: "observations", expected: 2, entries: [shown("a", 2, 1000), shown("b", 2, 1000)] },
    ...change,
  };
}
function wanted(clusters: readonly Counted[], change: Partial<Retirement> = {}): Retirement {
  return {
    names: [ref],
    state: {
      versions: new Map([
        [1, 1000],
        [2, 2000],
      ]),
      latest: 2,
      minEncryption: 2,
      minDecryption: 1,
    },
    before: 2,
    clusters,
    quietMs: 300_000,
    now,
    ...change,
  };
}
function refusedFor(reason: RegExp, clusters: readonly Counted[], change: Partial<Retirement> = {}): void {
  const reasons = reasonsAgainst(wanted(clusters, change));
  assert.equal(reasons.length, 1, reasons.join("\n"));
  assert.match(reasons[0] ?? "", reason);
}

test("nothing speaks against it when no object needs it and all nodes have shown the new key_id for long enough", () => {
  assert.deepEqual(reasonsAgainst(wanted([counted()])), []);
  assert.deepEqual(reasonsAgainst(wanted([counted({ nodes: { kind: "checked", entries: [] } })])), []);
});

test("the version that encrypts, and one that is retired already, are refused", () => {
  assert.match(reasonsAgainst(wanted([counted()], { before: 3 })).join("; "), /version 2 encrypts.*1 object/);
  refusedFor(/below 1 are retired already/, [counted()], { before: 1 });
});

test("objects that need it, values that nobody can read and an etcd without our objects refuse it", async () => {
  refusedFor(/1 object of cluster prod still need version 1, e\.g\. \/registry/, [
    counted({ usage: await countUsage(entries([v2(2), v2(1)])) }),
  ]);
  refusedFor(/1 values of cluster prod cannot be read/, [
    counted({ usage: await countUsage(entries([v2(2), v2(2).subarray(0, 70)])) }),
  ]);
  refusedFor(/is it the right etcd/, [counted({ usage: await countUsage(entries([])) })]);
});

test("every cluster that shares the key must be counted, and its objects count", async () => {
  const other = counted({
    record: theirs,
    nodes: { kind: "checked", entries: [] },
    usage: await countUsage(entries([v2(2, theirs)])),
  });
  assert.deepEqual(reasonsAgainst(wanted([counted(), other])), []);
  refusedFor(/cluster other uses this key too.*--etcd other=URL/, [counted(), { ...other, usage: undefined }]);
  refusedFor(/1 object of cluster other/, [
    counted(),
    { ...other, usage: await countUsage(entries([v2(2, theirs), v2(1, theirs)])) },
  ]);
  refusedFor(/other has moved to another key/, [counted(), { ...other, keyId: undefined, nodes: { kind: "unknown" } }]);
});

test("a node that is missing, late, unsettled or still decrypts under an earlier key_id refuses it", () => {
  const withEntries = (...list: readonly Observation[]): readonly Counted[] => [
    counted({ nodes: { kind: "observations", expected: 2, entries: list } }),
  ];
  const [a, b] = [shown("a", 2, 1000), shown("b", 2, 1000)];
  refusedFor(/1 of 2 nodes of prod/, withEntries(a));
  refusedFor(/1 of 2 nodes of prod/, withEntries(a, shown("b", 2, 3600_000)));
  refusedFor(/node b of prod has not been shown/, withEntries(a, shown("b", 1, 500)));
  refusedFor(/node b of prod has had the new key_id for 60 s only/, withEntries(a, shown("b", 2, 1000, 60_000)));
  refusedFor(/node b of prod has had the new key_id for 100 s only/, withEntries(a, b, shown("b", 1, 100_000)));
  refusedFor(
    /node a of prod decrypted under an earlier key_id 20 s ago/,
    withEntries(a, b, { ...shown("a", 1, 20_000), event: "decrypted" }),
  );
  const decrypted = { ...shown("a", 1, 20_000), event: "decrypted" } as const;
  refusedFor(/decrypted under an earlier key_id/, [counted({ nodes: { kind: "checked", entries: [decrypted] } })]);
  // Of a version that stays nobody must be quiet.
  assert.deepEqual(
    reasonsAgainst(wanted([counted({ retiring: new Set(), nodes: { kind: "checked", entries: [decrypted] } })])),
    [],
  );
  refusedFor(/how many control-plane nodes/, [counted({ nodes: { kind: "unknown" } })]);
});
