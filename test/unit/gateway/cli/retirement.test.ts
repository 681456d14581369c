import assert from "node:assert/strict";
import { test } from "node:test";
import { countUsage, type Usage } from "@claviger/cli/src/usage/count.ts";
import type { Entry } from "@claviger/cli/src/usage/etcd.ts";
import { type Counted, reasonsAgainst, type Retirement } from "@claviger/gateway-core/src/retirement/reasons.ts";
import { transitVersion } from "@claviger/cli/src/usage/foreign.ts";
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
  assert.deepEqual(
    usage.foreign.map(({ provider, version, count }) => [provider, version, count]),
    [["kms", undefined, 1]],
  );
  assert.deepEqual([usage.plainSecrets.count, usage.plain, usage.others.size, usage.damaged.length], [1, 0, 0, 2]);
});

test("Secrets in the clear are counted as Secrets, and other kinds are not", async () => {
  async function* keys(): AsyncGenerator<Entry> {
    for (const key of [
      "/registry/secrets/default/one",
      "/registry/secrets/kube-system/two",
      "/registry/configmaps/default/secrets",
      "/registry/pods/secrets/x",
      "/registry/example.com/secrets/default/custom",
    ])
      yield await Promise.resolve({ key, value: Buffer.from("k8s\0…") });
  }
  const usage = await countUsage(keys());
  assert.deepEqual(
    [usage.plainSecrets, usage.plain],
    [{ count: 2, examples: ["/registry/secrets/default/one", "/registry/secrets/kube-system/two"] }, 3],
  );
});

test("another KMS plugin's ciphertext shows the version of the Transit key that it needs, or does not tell", () => {
  const trousseau = (...lines: readonly (readonly [string, string])[]): string =>
    lines.map(([name, payload]) => `${name}:-:${Buffer.from(payload).toString("base64")}\n`).join("");
  for (const [text, version] of [
    ["vault:v1:AAAA", 1],
    ["vault:v12:AAAA", 12],
    ["my-key.of:v3:AAAA", 3],
    ["mykey:v3:AAAA", 3],
    [trousseau(["debug", "x"], ["vault", "vault:v4:AAAA"]), 4],
    [trousseau(["vault", "vault:v4:AAAA"], ["other", "vault:v2:AAAA"]), 2],
    [trousseau(["awskms", "blob"]), undefined],
    ["vault:v0:AAAA", undefined],
    ["vault:v:AAAA", undefined],
    ["x vault:v1:AAAA", undefined],
    ["1\u0001binary", undefined],
    ["", undefined],
  ] as const)
    assert.equal(transitVersion(Buffer.from(text)), version, text);
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
    isFromSnapshot: false,
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
    otherKeys: new Set(),
    backends: new Set(["main"]),
    areSnapshotsChecked: false,
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

test("the version that encrypts is refused", () => {
  assert.match(reasonsAgainst(wanted([counted()], { before: 3 })).join("; "), /version 2 encrypts.*1 object/);
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

function foreign(provider: string, ciphertext: string): Buffer {
  return Buffer.from(
    encodeStored({
      provider,
      encryptedData: Buffer.alloc(1),
      keyId: "k",
      encryptedDekSource: Buffer.from(ciphertext),
      annotations: {},
    }),
  );
}

test("objects of another KMS plugin refuse it where they need an earlier version, or do not tell, until the operator says that it is another key", async () => {
  const of = async (...values: readonly Buffer[]): Promise<readonly Counted[]> => [
    counted({ usage: await countUsage(entries([v2(2), ...values])) }),
  ];
  const early = await of(foreign("kleidi", "vault:v1:AAAA"), foreign("kleidi", "vault:v1:BBBB"));
  refusedFor(
    /^2 objects of cluster prod that KMS plugin kleidi encrypted need version 1 of a Transit key, and maybe this one, e\.g\. \/registry.*--other-key kleidi$/,
    early,
  );
  const silent = await of(foreign("aws", "1binary"));
  refusedFor(
    /^1 object of cluster prod that KMS plugin aws encrypted do not tell which key they need.*--other-key aws$/,
    silent,
  );
  assert.deepEqual(reasonsAgainst(wanted(early, { otherKeys: new Set(["kleidi"]) })), []);
  assert.deepEqual(reasonsAgainst(wanted(silent, { otherKeys: new Set(["aws"]) })), []);
  refusedFor(/KMS plugin kleidi/, early, { otherKeys: new Set(["aws"]) });
  assert.deepEqual(reasonsAgainst(wanted(await of(foreign("kleidi", "vault:v2:AAAA")))), []);
});

test("objects under a backend that the configuration does not have refuse it likewise", async () => {
  const clusters = [counted({ usage: await countUsage(entries([v2(2)])) })];
  const change = { backends: new Set(["another"]) };
  refusedFor(
    /need main: transit\/prod, and this configuration has no backend main.*--other-key main$/,
    clusters,
    change,
  );
  assert.deepEqual(reasonsAgainst(wanted(clusters, { ...change, otherKeys: new Set(["main"]) })), []);
});

test("objects of a key that is gone are named, all of them", async () => {
  const clusters = [counted({ usage: await countUsage(entries([v2(2), v2(1), v1(1)])) })];
  const anew = {
    versions: new Map([
      [1, 1500],
      [2, 2000],
    ]),
    latest: 2,
    minEncryption: 2,
    minDecryption: 1,
  };
  refusedFor(
    /^2 objects of cluster prod need version 1 of a key that is gone: transit\/prod was deleted or restored.*: \/registry\/secrets\/default\/s1, \/registry\/secrets\/default\/s2$/,
    clusters,
    { state: anew },
  );
});

test("what was counted in a snapshot refuses it until the operator says how old that is", () => {
  const clusters = [counted({ isFromSnapshot: true })];
  refusedFor(/^cluster prod was counted in a snapshot.*--snapshots-checked$/, clusters);
  assert.deepEqual(reasonsAgainst(wanted(clusters, { areSnapshotsChecked: true })), []);
});

test("names in etcd that a terminal would act upon are printed with escapes", async () => {
  async function* hostile(): AsyncGenerator<Entry> {
    yield await Promise.resolve({ key: "/registry/a", value: v2(2) });
    yield { key: "/registry/\u001b[2J\n  - forged\u202e", value: v2(1) };
  }
  refusedFor(/e\.g\. \/registry\/\\u\{1b\}\[2J\\u\{a\}  - forged\\u\{202e\}: rewrite/, [
    counted({ usage: await countUsage(hostile()) }),
  ]);
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
  // The last sight of the earlier key_id leaves every window, and the figure goes on.
  const quiet = { quietMs: 400_000 };
  for (const [ago, figure] of [
    [285_000, 285],
    [301_000, 301],
    [399_000, 399],
  ] as const)
    refusedFor(
      new RegExp(`node b of prod has had the new key_id for ${figure} s only`),
      withEntries(a, b, shown("b", 1, ago)),
      quiet,
    );
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
