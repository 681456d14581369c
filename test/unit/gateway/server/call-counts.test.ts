// What is counted of calls for the histories.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createCallCounts, noCallCounts } from "../../../../gateway/server/src/call-counts.ts";
import { clusterUid } from "@claviger/proto/wire/names.ts";

const blue = clusterUid.parse("01M8CZX875MFSCYTBWR058VXTG");

test("calls count by operation and cluster, each of a batch, and those that were not served by why", () => {
  const counts = createCallCounts();
  counts.add(blue, "status", [{}], undefined);
  counts.add(blue, "decrypt", [{}, { reason: "ciphertext_invalid" }, {}], undefined);
  // A deadline that passed: what was done is not handed over either.
  counts.add(blue, "encrypt", [{}, { reason: "overloaded" }], "deadline_exceeded");
  // Refused before there was a call; a path that is none; a cluster that is not in the registry.
  counts.add(blue, "decrypt", [], "cluster_suspended");
  counts.add(blue, "none", [], "method_unknown");
  counts.add(undefined, "status", [], "cluster_unknown");
  const refusals = {
    ciphertext_invalid: 1,
    overloaded: 1,
    deadline_exceeded: 1,
    cluster_suspended: 1,
    method_unknown: 1,
  };
  assert.deepEqual(counts.take(), {
    calls: [2, 2, 4],
    refusals: { ...refusals, cluster_unknown: 1 },
    clusters: { [blue]: { calls: [1, 2, 4], refusals } },
  });
});

test("what was taken is not counted again", () => {
  const counts = createCallCounts();
  counts.add(blue, "status", [{}], undefined);
  counts.take();
  const nothing = { calls: [0, 0, 0], refusals: {}, clusters: {} };
  assert.deepEqual(counts.take(), nothing);
  noCallCounts.add(blue, "status", [{}], undefined);
  assert.deepEqual(noCallCounts.take(), nothing);
});
