import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { formatCount, plural } from "@claviger/console/src/model/count.ts";
import { formatValue, ratesOf, summaryOf, valuesOf } from "@claviger/console/src/model/history.ts";
import { may, operatorOf } from "@claviger/console/src/model/role.ts";
import { sparkPaths } from "@claviger/console/src/model/spark.ts";

const from = "2026-11-27T06:00:00Z";
const step = (i: number): string => new Date(Date.parse(from) + i * 10_000).toISOString();

suite("figures", () => {
  test("a history has a value for each step, and none where nothing is known", () => {
    const { times, lines } = ratesOf(
      {
        stepSeconds: 10,
        from,
        until: step(4),
        points: [
          { at: step(0), knownSeconds: 10, calls: { status: 20, encrypt: 100 } },
          { at: step(1), knownSeconds: 5, calls: { encrypt: 10 } },
          { at: step(3), knownSeconds: 10 },
        ],
      },
      ({ calls }) => calls,
    );
    assert.equal(times.length, 4);
    assert.deepEqual(lines, [
      { name: "encrypt", values: [10, 2, null, 0] },
      { name: "status", values: [2, 0, null, 0] },
    ]);
  });

  test("a history of nothing is empty", () => {
    assert.deepEqual(
      ratesOf({}, ({ calls }) => calls),
      { times: [], lines: [] },
    );
    assert.deepEqual(valuesOf({ points: [] }, { nodes: ({ nodesSeen }) => nodesSeen }).times, []);
  });

  test("a value that is not known is none, and never 0", () => {
    const { lines } = valuesOf(
      { stepSeconds: 10, from, until: step(2), points: [{ at: step(0), nodesSeen: 0 }, { at: step(1) }] },
      { nodes: ({ nodesSeen }) => nodesSeen },
    );
    assert.deepEqual(lines[0]?.values, [0, null]);
  });

  test("a line says its newest and its highest value", () => {
    assert.deepEqual(summaryOf({ name: "", values: [null, 3, 7, 2, null] }), { latest: 2, highest: 7 });
    assert.deepEqual(summaryOf({ name: "", values: [null] }), { latest: undefined, highest: undefined });
  });

  test("numbers have as many digits as say something", () => {
    assert.deepEqual([0, 0.123, 1.5, 12.34, 1234.5].map(formatValue), ["0", "0.12", "1.5", "12.3", "1235"]);
    assert.deepEqual([0, 999, 1000, 1_234_567].map(formatCount), ["0", "999", "1\u202f000", "1\u202f234\u202f567"]);
    assert.deepEqual(
      [plural(1, "node"), plural(2, "node"), plural(0, "address", "addresses")],
      ["1 node", "2 nodes", "0 addresses"],
    );
  });

  test("a small line has a gap where nothing is known", () => {
    assert.deepEqual(sparkPaths([0, 4, undefined, 2], { width: 30, height: 20 }), ["M0 20L10 0", "M30 10h1"]);
    assert.deepEqual(sparkPaths([], { width: 30, height: 20 }), []);
  });

  test("a role may what lower ones may, and nobody's role may nothing", () => {
    assert.ok(may("admin", "viewer") && may("operator", "operator") && !may("operator", "admin"));
    for (const none of [undefined, "", "root"]) assert.ok(!may(none, "viewer"));
  });

  test("an operator is named as in records", () => {
    assert.equal(operatorOf("spiffe://example.org/operator/ada"), "ada");
    assert.equal(operatorOf("oidc:corp:ada"), "oidc:corp:ada");
  });
});
