import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { timelineOf } from "@claviger/console/src/model/timeline.ts";

const now = Date.UTC(2026, 10, 27, 12);
const at = (minutesAgo: number): string => new Date(now - minutesAgo * 60_000).toISOString();

suite("which node showed which key_id when", () => {
  test("bars stand on one scale that ends now", () => {
    const { from, until, nodes } = timelineOf(
      [
        { node: "b", keyId: "two", version: 2, shownFrom: at(50), shownUntil: at(0) },
        { node: "a", keyId: "two", version: 2, shownFrom: at(25), shownUntil: at(0) },
        { node: "a", keyId: "one", version: 1, shownFrom: at(100), shownUntil: at(25) },
      ],
      "two",
      now,
    );
    assert.deepEqual([from, until], [now - 100 * 60_000, now]);
    assert.deepEqual(
      nodes.map(({ node, bars }) => [
        node,
        ...bars.map(({ keyId, start, width, isCurrent }) => [keyId, start, width, isCurrent]),
      ]),
      [
        ["a", ["one", 0, 0.75, false], ["two", 0.75, 0.25, true]],
        ["b", ["two", 0.5, 0.5, true]],
      ],
    );
  });

  test("what lasted a moment can be seen, inside the scale", () => {
    const { nodes } = timelineOf(
      [
        { node: "a", keyId: "one", shownFrom: at(100), shownUntil: at(100) },
        { node: "a", keyId: "two", shownFrom: at(0), shownUntil: at(0) },
      ],
      "",
      now,
    );
    for (const { start, width } of nodes[0]?.bars ?? []) assert.ok(width > 0 && start >= 0 && start + width <= 1);
  });

  test("a key_id that was only decrypted under stands where it was", () => {
    const [row] = timelineOf([{ node: "a", keyId: "one", decryptedFrom: at(9), decryptedUntil: at(5) }], "", now).nodes;
    assert.equal(row?.bars[0]?.from, now - 9 * 60_000);
  });

  test("of nothing there are no bars, and there is a scale", () => {
    const { from, until, nodes } = timelineOf([{ node: "a", keyId: "one" }], "", now);
    assert.deepEqual(nodes, []);
    assert.ok(from < until);
  });
});
