import assert from "node:assert/strict";
import { test } from "node:test";
import { mergeRegistry, parseRegistry } from "@claviger/gateway-core/src/registry/merge.ts";
import {
  addDigest,
  changeProblems,
  checkRecord,
  type ClusterRecord,
  digestText,
  normalSerial,
  recordDigest,
  registryDigest,
} from "@claviger/gateway-core/src/registry/record.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { clusterName } from "@claviger/proto/wire/names.ts";
import { problemsOf } from "../../problems.ts";

const backends = new Set(["main", "second"]);
const uidA = "01JD9Z6X3QK8V5T7W2M4N6P8RA";
const uidB = "01JD9Z6X3QK8V5T7W2M4N6P8RB";
function cluster(fields: Record<string, unknown> = {}) {
  return {
    name: "prod",
    uid: uidA,
    state: "active",
    keys: [{ backend: "main", mount: "transit", key: "prod" }],
    ...fields,
  };
}
function text(...clusters: unknown[]): string {
  return JSON.stringify({ clusters });
}
test("a good registry is read with its defaults", () => {
  const record = parseRegistry("r", text(cluster()), backends, undefined).get(clusterName.parse("prod"));
  assert.equal(record?.rotation, "auto");
  assert.equal(record.generation, 0);
  assert.deepEqual(record.previousKeys, []);
});

test("every problem of an edit is told at once", () => {
  const bad = text(
    cluster({ name: "Prod", state: "on" }),
    cluster({ uid: "x", keys: [], typo: 1, issuer: "sha256:AB" }),
    cluster({ keys: [{ backend: "main", mount: "../sys", key: "seal" }] }),
  );
  const problems = problemsOf(() => parseRegistry("r", bad, backends, undefined)).join("\n");
  for (const part of [
    "clusters.0.name",
    "clusters.0.state",
    "clusters.1.uid",
    "clusters.1.keys",
    "clusters.1.typo",
    "clusters.1.issuer",
    "clusters.2.keys.0.mount",
  ])
    assert.ok(problems.includes(part), `${part} in ${problems}`);
});

test("names and uids stand once, backends are configured", () => {
  const problems = problemsOf(() =>
    parseRegistry(
      "r",
      text(cluster(), cluster({ keys: [{ backend: "nowhere", mount: "transit", key: "k" }] })),
      backends,
      undefined,
    ),
  );
  assert.equal(problems.length, 3, problems.join("\n"));
});

test("a cluster's uid never changes, its generation never falls, its keys change only with a new generation", () => {
  const before = parseRegistry("r", text(cluster({ generation: 4 })), backends, undefined);
  const moved = [{ backend: "second", mount: "transit", key: "prod" }];
  assert.match(
    problemsOf(() => parseRegistry("r", text(cluster({ generation: 4, uid: uidB })), backends, before)).join(),
    /for life/,
  );
  assert.match(
    problemsOf(() => parseRegistry("r", text(cluster({ generation: 3 })), backends, before)).join(),
    /went back/,
  );
  assert.match(
    problemsOf(() => parseRegistry("r", text(cluster({ generation: 4, keys: moved })), backends, before)).join(),
    /raise generation to 5/,
  );
  assert.equal(parseRegistry("r", text(cluster({ generation: 5, keys: moved })), backends, before).size, 1);
});

test("YAML that is broken, repeats a key or uses anchors is refused", () => {
  for (const broken of ["clusters: [", "clusters: []\nclusters: []", "a: &a [1]\nclusters: *a"])
    assert.throws(() => parseRegistry("r", broken, backends, undefined), ConfigError);
});

test("a record of 0.1.0 names its previous keys `former`", () => {
  const previous = { backend: "main", mount: "transit", key: "earlier" };
  const record = parseRegistry("r", text(cluster({ former: [previous] })), backends, undefined).get(
    clusterName.parse("prod"),
  );
  assert.deepEqual(record?.previousKeys, [previous]);
});

test("a bad record keeps its own last good state and holds up no other, above all no suspension", () => {
  const other = { name: "other", uid: uidB };
  const before = parseRegistry("r", text(cluster(), cluster(other)), backends, undefined);
  const edit = text(
    cluster({ state: "nonsense", typo: 1 }),
    cluster({ ...other, state: "suspended" }),
    cluster({ name: "new", uid: "01JD9Z6X3QK8V5T7W2M4N6P8RX", keys: [] }),
  );
  const { registry, problems, broken } = mergeRegistry("r", edit, backends, before);
  assert.deepEqual(
    [...registry.values()].map(({ name, state }) => [name, state]).toSorted(([a = ""], [b = ""]) => (a < b ? -1 : 1)),
    [
      ["other", "suspended"],
      ["prod", "active"],
    ],
  );
  assert.deepEqual([...broken], ["new"]);
  assert.equal(problems.length, 3, problems.join("\n"));
});

test("a uid is one cluster's for life: under another name it is refused, and its owner stays", () => {
  const before = parseRegistry("r", text(cluster()), backends, undefined);
  for (const edit of [text(cluster({ name: "thief" })), text(cluster(), cluster({ name: "thief" }))]) {
    const { registry, problems } = mergeRegistry("r", edit, backends, before);
    assert.equal(registry.get(clusterName.parse("thief")), undefined);
    assert.match(problems.join(), /the uid/);
  }
  assert.ok(
    mergeRegistry("r", text(cluster(), cluster({ name: "thief" })), backends, before).registry.has(
      clusterName.parse("prod"),
    ),
  );
});

test("a record that is no YAML keeps its last good state; where its name cannot be told nobody is removed", () => {
  const records = [cluster(), cluster({ name: "other", uid: uidB })].map((record) => JSON.stringify(record));
  const listed = (...lines: string[]): string => `clusters:\n${lines.map((line) => `  - ${line}\n`).join("")}`;
  const before = parseRegistry("r", listed(...records), backends, undefined);
  assert.equal(before.size, 2);
  const suspended = JSON.stringify(cluster({ name: "other", uid: uidB, state: "suspended" }));
  for (const [bad, names] of [
    ["name: prod\n    uid: [", ["prod", "other"]],
    ["{ nmae: prod, uid: [ }", ["prod", "other"]],
  ] as const) {
    const { registry, problems } = mergeRegistry("r", listed(bad, suspended), backends, before);
    assert.deepEqual(new Set(registry.keys()), new Set(names));
    assert.equal(registry.get(clusterName.parse("other"))?.state, "suspended");
    assert.equal(registry.get(clusterName.parse("prod"))?.state, "active");
    assert.match(problems.join(), /clusters\.0\./);
  }
  assert.deepEqual([...mergeRegistry("r", listed(suspended), backends, before).registry.keys()], ["other"]);
});

function checked(fields: Record<string, unknown> = {}): ClusterRecord {
  const { record, problems } = checkRecord(cluster(fields));
  assert.ok(record !== undefined, problems.join());
  return record;
}

test("a key keeps the namespace that its record names, and has none where it names none", () => {
  const key = { backend: "main", mount: "transit", key: "prod" };
  const { keys, previousKeys } = checked({ keys: [{ ...key, namespace: "team/a" }], previousKeys: [key] });
  assert.deepEqual([keys, previousKeys], [[{ ...key, namespace: "team/a" }], [key]]);
});

test("generations and rates have bounds, and what is at a bound is good", () => {
  for (const [field, least, most] of [
    ["generation", 0, 1_000_000_000],
    ["requestsPerSecond", 1, 1_000_000],
  ] as const) {
    const given = (value: number) => (field === "generation" ? { generation: value } : { limits: { [field]: value } });
    for (const good of [least, most]) assert.deepEqual(checkRecord(cluster(given(good))).problems, []);
    for (const bad of [least - 1, most + 1, 1.5])
      assert.match(checkRecord(cluster(given(bad))).problems.join(), new RegExp(field), String(bad));
  }
});

test("a record that is bad is told with its name, where it has one that is a text", () => {
  for (const [raw, name] of [
    [{ name: "Prod" }, "Prod"],
    [{ name: 7 }, undefined],
    [{}, undefined],
    ["prod", undefined],
    [null, undefined],
    [undefined, undefined],
  ] as const) {
    const { name: told, record, problems } = checkRecord(raw);
    assert.deepEqual([told, record], [name, undefined]);
    assert.ok(problems.length > 0);
  }
});

test("an error that says nothing of the record is no problem of it, and goes on", () => {
  const broken = Object.defineProperty(cluster(), "state", {
    enumerable: true,
    get: () => {
      throw new RangeError("a bug");
    },
  });
  assert.throws(() => checkRecord(broken), RangeError);
});

test("one serial number is one, with colons, in lower case, with zeros before it", () => {
  for (const text of ["0a:1B", "0A1B", "A1B", "00:0a:1b"]) assert.equal(normalSerial(text), "A1B");
  for (const text of ["0", "00", "00:00"]) assert.equal(normalSerial(text), "0");
  assert.deepEqual(checked({ nodes: { revokedSerials: ["0a:1b"] } }).nodes?.revokedSerials, ["A1B"]);
});

test("a registry's digest is that of what it holds, not of how it is written", () => {
  const digest = (...records: readonly ClusterRecord[]) =>
    registryDigest(new Map(records.map((record) => [record.name, record])));
  const [one, other] = [checked(), checked({ name: "other", uid: uidB })];
  assert.match(digest(one), /^sha256:[0-9a-f]{64}$/);
  assert.equal(digest(one, other), digest(other, one));
  assert.equal(digest(checked({ labels: { a: "1", b: "2" } })), digest(checked({ labels: { b: "2", a: "1" } })));
  const different = [
    digest(),
    digest(one),
    digest(other),
    digest(one, other),
    digest(checked({ generation: 1 })),
    digest(checked({ labels: {} })),
    digest(checked({ labels: { a: "1" } })),
    digest(checked({ labels: { a: "2" } })),
    digest(checked({ labels: { b: "1" } })),
  ];
  assert.equal(new Set(different).size, different.length, different.join("\n"));
});

test("a record is taken out of a digest as it was put in", () => {
  const [one, other] = [recordDigest(checked()), recordDigest(checked({ name: "other", uid: uidB }))];
  const sum = Buffer.alloc(32);
  for (const digest of [one, other, one]) addDigest(sum, digest);
  assert.equal(digestText(sum), digestText(other));
});

test("the same keys, written again under the same generation, are no change", () => {
  const before = checked({ generation: 4 });
  assert.deepEqual(changeProblems(checked({ generation: 4 }), before, before.name), []);
  assert.deepEqual(changeProblems(checked({ generation: 4 }), undefined, undefined), []);
});
