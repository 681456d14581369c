import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { pairsOf, worstSharing } from "../../../bench/fleet/cells.ts";

suite("Cells of 2 of 8 gateways", () => {
  test("there are 28 pairs", () => {
    const pairs = pairsOf(8);
    assert.equal(pairs.length, 28);
    assert.equal(new Set(pairs.map(String)).size, 28);
    assert.ok(pairs.every(([a, b]) => a < b && b < 8));
  });

  test("in turn over the pairs, at most 1/28 of the clusters share both gateways with any cluster", () => {
    for (const clusters of [28, 100, 10_000]) {
      const { both, one, none } = worstSharing(clusters, 8, (cluster, pairs) => cluster % pairs);
      assert.ok(both <= 1 / 28, `${clusters}: ${both}`);
      assert.ok(Math.abs(both + one + none - 1) < 1e-9);
    }
  });

  test("12 of the 28 pairs share one gateway with a pair, and 15 none", () => {
    const { both, one, none } = worstSharing(28, 8, (cluster) => cluster);
    assert.deepEqual([both, Math.round(one * 27), Math.round(none * 27)], [0, 12, 15]);
  });

  test("the cluster that shares the most counts", () => {
    // Three on the first pair, one on the last.
    const { both, one, none } = worstSharing(4, 8, (cluster, pairs) => (cluster < 3 ? 0 : pairs - 1));
    assert.deepEqual([both, one, none], [2 / 3, 0, 1 / 3]);
  });
});
