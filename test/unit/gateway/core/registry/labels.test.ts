// Labels and selectors: what Kubernetes takes is taken, what it refuses is refused, and they mean the same.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  createServes,
  isSelected,
  labelsSchema,
  type LabelSelector,
  selectorSchema,
  selectorText,
} from "@claviger/gateway-core/src/registry/labels.ts";
import { checkConfig, ConfigError } from "@claviger/proto/runtime/config.ts";

function problems(schema: typeof labelsSchema | typeof selectorSchema, value: unknown): readonly string[] {
  try {
    checkConfig("file", value, schema);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

const long = "x".repeat(63);

test("labels are those of Kubernetes: keys with a DNS name before them, values that may be empty", () => {
  const good = {
    cell: "a",
    "topology.kubernetes.io/region": "eu-1",
    [`${"a.".repeat(120)}b/${long}`]: long,
    Tier_1: "",
    "0": "v1.2-rc_3",
  };
  assert.deepEqual(problems(labelsSchema, good), []);
  for (const key of ["", "-a", "a-", "a/b/c", "A.b/c", "/a", "a/", `${long}x`, `${"a.".repeat(126)}bb/c`, "a b", "ä"])
    assert.match(problems(labelsSchema, { [key]: "v" }).join(), /must be a label's key/, JSON.stringify(key));
  for (const value of ["-a", "a-", "a/b", `${long}x`, "a b", "ä", true, 1, null, ["a"], "a\n"])
    assert.match(problems(labelsSchema, { a: value }).join(), /must be a label's value/, JSON.stringify(value));
});

test("a record has at most 32 labels, a selector as many conditions, each of at most 256 values", () => {
  const many = (count: number) => Array.from({ length: count }, (_, i) => `k${i}`);
  const labels = (count: number) => Object.fromEntries(many(count).map((key) => [key, ""]));
  assert.deepEqual(problems(labelsSchema, labels(32)), []);
  assert.match(problems(labelsSchema, labels(33)).join(), /at most 32 labels/);
  assert.match(problems(selectorSchema, { matchLabels: labels(33) }).join(), /at most 32 labels/);
  const conditions = (count: number) => ({ matchExpressions: many(count).map((key) => ({ key, operator: "Exists" })) });
  assert.deepEqual(problems(selectorSchema, conditions(32)), []);
  assert.match(problems(selectorSchema, conditions(33)).join(), /at most 32 conditions/);
  const values = (count: number) => ({ matchExpressions: [{ key: "a", operator: "In", values: many(count) }] });
  for (const count of [1, 256]) assert.deepEqual(problems(selectorSchema, values(count)), []);
  assert.match(problems(selectorSchema, values(257)).join(), /at most 256 values/);
});

test("a selector of a wrong form is refused, and never taken for one that selects everything", () => {
  for (const [selector, problem] of [
    [{ matchLabel: { a: "b" } }, /matchLabel: no such setting/],
    [{ matchLabels: { cell: 1 } }, /matchLabels\.cell: must be a label's value/],
    [{ matchExpressions: [{ key: "a", operator: "in", values: ["b"] }] }, /operator: must be one of In, NotIn, Exists/],
    [{ matchExpressions: [{ key: "a", operator: "In", values: [] }] }, /must list at least one value/],
    [{ matchExpressions: [{ key: "a", operator: "NotIn" }] }, /values: is missing; it must stand with In and NotIn/],
    [
      { matchExpressions: [{ key: "a", operator: "Exists", values: ["b"] }] },
      /values: must stand with In and NotIn, and with no/,
    ],
    [{ matchExpressions: { key: "a" } }, /must be a list/],
    ["cell=a", /must be a mapping/],
    [null, /is empty/],
  ] as const)
    assert.match(problems(selectorSchema, selector).join("\n"), problem, JSON.stringify(selector));
});

test("a selector selects as in Kubernetes: everything in it must hold, and NotIn holds where the label is not there", () => {
  const both: LabelSelector = {
    matchLabels: { cell: "a" },
    matchExpressions: [
      { key: "tier", operator: "In", values: ["gold", "silver"] },
      { key: "stage", operator: "NotIn", values: ["test"] },
      { key: "owner", operator: "Exists" },
      { key: "gone", operator: "DoesNotExist" },
    ],
  };
  const good = { cell: "a", tier: "gold", owner: "" };
  for (const [labels, selected] of [
    [good, true],
    [{ ...good, tier: "silver", stage: "prod", other: "x" }, true],
    [{ ...good, cell: "b" }, false],
    [{ tier: "gold", owner: "" }, false],
    [{ ...good, tier: "bronze" }, false],
    [{ cell: "a", owner: "" }, false],
    [{ ...good, stage: "test" }, false],
    [{ cell: "a", tier: "gold" }, false],
    [{ ...good, gone: "" }, false],
    [{}, false],
    [undefined, false],
  ] as const)
    assert.equal(isSelected(both, labels), selected, JSON.stringify(labels));
  for (const key of ["constructor", "toString"]) {
    assert.equal(isSelected({ matchExpressions: [{ key, operator: "Exists" }] }, {}), false);
    assert.equal(isSelected({ matchLabels: { [key]: "x" } }, {}), false);
  }
  assert.equal(selectorText(both), "cell=a,tier in (gold,silver),stage notin (test),owner,!gone");
});

test("a gateway without serves, and one with an empty selector, serve every cluster", () => {
  for (const selector of [undefined, {}])
    for (const labels of [undefined, {}, { cell: "a" }]) assert.equal(createServes(selector)({ labels }), true);
  assert.equal(createServes({ matchLabels: { cell: "a" } })({}), false);
});
