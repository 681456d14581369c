import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { rowOf, withRecord } from "@claviger/console/src/model/row.ts";
import { row } from "./rows.ts";

suite("a row of the fleet's table", () => {
  test("a cluster that is well is good", () => {
    assert.deepEqual(row("prod").health, { tone: "good", word: "ok" });
  });

  test("a cluster of which nothing is known is unknown, and no number of it is 0", () => {
    const { health, phase, keyVersion, refused, callsTotal, expected } = rowOf({ cluster: "prod", state: "active" });
    assert.equal(health.tone, "unknown");
    assert.deepEqual(
      [phase, keyVersion, refused, callsTotal, expected],
      [undefined, undefined, undefined, undefined, undefined],
    );
  });

  test("a state that is not known here is unknown, not active", () => {
    assert.deepEqual(row("prod", { state: "odd" }).health, { tone: "unknown", word: "odd" });
  });

  test("steps of which nothing is known are no calls", () => {
    const { calls, callsTotal } = row("prod", { calls: [-1, 0, 5, -1] });
    assert.deepEqual(calls, [undefined, 0, 5, undefined]);
    assert.equal(callsTotal, 5);
    assert.equal(row("prod", { calls: [-1, -1] }).callsTotal, undefined);
  });

  test("the worst is told", () => {
    assert.equal(row("prod", { phase: 2, nodes: { ok: 2, missing: 1 } }).health.word, "outage, phase 2");
    assert.equal(row("prod", { keyFailing: "decrypt", phase: 1 }).health.word, "key: decrypt fails");
    assert.equal(row("prod", { nodes: { ok: 2, missing: 1 } }).health.word, "node missing");
    assert.equal(row("prod", { nodes: { unknown: 1 } }).health.tone, "unknown");
  });

  test("a suspended cluster is suspended, whatever else is known of it", () => {
    assert.deepEqual(row("prod", { state: "suspended", phase: 3 }).health, { tone: "off", word: "suspended" });
  });

  test("nodes in an outage are seen; those that were not seen are not", () => {
    assert.equal(row("prod", { nodes: { ok: 1, outage: 1, not_seen: 4, revoked: 1 } }).seen, 2);
  });

  test("a record that changes changes state, labels and what is found, and nothing else", () => {
    const before = row("prod", { labels: { team: "blue" }, refused: 4 });
    const after = withRecord(before, { state: "suspended", labels: { team: "Red" } });
    assert.deepEqual([after.state, after.labels, after.health.word], ["suspended", ["team=Red"], "suspended"]);
    assert.equal(after.refused, 4);
    assert.ok(after.text.includes("team=red") && !after.text.includes("blue"));
  });
});
