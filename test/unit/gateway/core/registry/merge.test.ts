// Edits one after the other: what is kept of the earlier ones changes nothing of what an edit comes to.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import * as fc from "fast-check";
import { createMerger, mergeRegistry } from "@claviger/gateway-core/src/registry/merge.ts";
import { piecesOfText } from "@claviger/gateway-core/src/registry/pieces.ts";
import type { Registry } from "@claviger/gateway-core/src/registry/record.ts";
import { runAtOnce } from "@claviger/gateway-core/src/registry/slices.ts";
import { clusterName } from "@claviger/proto/wire/names.ts";

const backends = new Set(["main"]);
const uids = ["A", "B", "C"].map((end) => `01JD9Z6X3QK8V5T7W2M4N6P8R${end}`);
const cluster = (change: Record<string, unknown> = {}): Record<string, unknown> => ({
  name: "a",
  uid: uids[0],
  state: "active",
  keys: [{ backend: "main", mount: "transit", key: "k" }],
  ...change,
});
const textOf = (records: readonly unknown[]): string =>
  records.length === 0
    ? "clusters: []\n"
    : `clusters:\n${records.map((record) => `  - ${JSON.stringify(record)}\n`).join("")}`;

function createEdits() {
  const merger = createMerger(backends);
  return {
    table: merger.table,
    apply: (...records: readonly unknown[]) => runAtOnce(merger.apply(runAtOnce(piecesOfText("r", textOf(records))))),
  };
}

const records = fc.record(
  {
    name: fc.constantFrom("a", "b", "c", "Bad"),
    uid: fc.constantFrom(...uids),
    state: fc.constantFrom("active", "suspended", "nonsense"),
    generation: fc.constantFrom(0, 1),
    keys: fc
      .constantFrom("k", "l")
      .map((key) => [{ backend: key === "k" ? "main" : "nowhere", mount: "transit", key }]),
  },
  { requiredKeys: ["uid", "state", "keys"] },
);
const good = fc
  .tuple(fc.nat(2), fc.constantFrom("active", "suspended"), fc.constantFrom(0, 1))
  .map(([at, state, generation]) => cluster({ name: ["a", "b", "c"][at], uid: uids[at], state, generation }));
const edits = fc.array(fc.array(fc.oneof({ weight: 3, arbitrary: good }, records), { maxLength: 4 }), {
  minLength: 2,
  maxLength: 6,
});

suite("Edits of a registry", () => {
  test("come to what each would come to if nothing were known but what is in force", () => {
    fc.assert(
      fc.property(edits, (list) => {
        const { table, apply } = createEdits();
        for (const edit of list) {
          const before: Registry = new Map(table.records);
          const alone = mergeRegistry("r", textOf(edit), backends, before);
          const { problems, broken } = apply(...edit);
          assert.deepEqual(new Map(table.records), new Map(alone.registry));
          assert.deepEqual(new Set(problems), new Set(alone.problems));
          assert.deepEqual(broken, alone.broken);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("do not read a record again that stands there in the same words", () => {
    const { table, apply } = createEdits();
    const [a, b] = [clusterName.parse("a"), clusterName.parse("b")];
    apply(cluster(), cluster({ name: "b", uid: uids[1] }));
    const before = [table.get(a), table.get(b)];
    apply(cluster({ name: "b", uid: uids[1], state: "suspended" }), cluster());
    assert.equal(table.get(a), before[0]);
    assert.notEqual(table.get(b), before[1]);
    assert.equal(table.get(b)?.state, "suspended");
  });

  test("name the place of a problem as it is now", () => {
    const { apply } = createEdits();
    const bad = cluster({ name: "b", uid: uids[1], state: "nonsense" });
    assert.match(apply(bad, cluster()).problems.join(), /^clusters\.0\.state/);
    assert.match(apply(cluster(), bad).problems.join(), /^clusters\.1\.state/);
    assert.deepEqual(apply(cluster()).problems, []);
  });
});
