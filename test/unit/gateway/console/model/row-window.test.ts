import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { rowWindow } from "@claviger/console/src/model/row-window.ts";

const size = { count: 10_000, rowHeight: 36, height: 720 } as const;

suite("the rows of a long table that are made", () => {
  test("they are those in sight, and some beside them", () => {
    const { from, to } = rowWindow({ ...size, scrollTop: 36_000 });
    assert.ok(from < 1000 && from > 950, String(from));
    assert.ok(to > 1020 && to < 1060, String(to));
  });

  test("with the space above and below they are as high as all rows", () => {
    for (const scrollTop of [0, 1, 777, 359_280, 360_000, 1e9, -50]) {
      const { from, to, above, below } = rowWindow({ ...size, scrollTop });
      assert.ok(from >= 0 && from <= to && to <= size.count, `${scrollTop}: ${from} to ${to}`);
      assert.equal(above + (to - from) * size.rowHeight + below, size.count * size.rowHeight);
    }
  });

  test("few rows are all made, and none of none", () => {
    assert.deepEqual(rowWindow({ ...size, count: 3, scrollTop: 0 }), { from: 0, to: 3, above: 0, below: 0 });
    assert.deepEqual(rowWindow({ ...size, count: 0, scrollTop: 500 }), { from: 0, to: 0, above: 0, below: 0 });
  });
});
