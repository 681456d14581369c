import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { percentileOf, secondsOf, shown, sparkline, tableOf } from "../../../bench/fleet/figures.ts";

suite("Figures of a fleet run", () => {
  test("a percentile is the smallest value that the share does not exceed, whatever the order", () => {
    const values = Array.from({ length: 100 }, (_, i) => 100 - i);
    assert.equal(percentileOf(values, 0.5), 50);
    assert.equal(percentileOf(values, 0.99), 99);
    assert.equal(percentileOf(values, 1), 100);
    assert.equal(percentileOf(values, 0), 1);
    assert.equal(percentileOf([7], 0.99), 7);
    assert.equal(percentileOf([], 0.5), Number.NaN);
  });

  test("items are counted in the second that they fall into, and those outside are left out", () => {
    const figure = (items: readonly number[]): number => items.length;
    const counts = secondsOf([999, 1000, 1999, 2000, 4000], { from: 1000, seconds: 3, at: (item) => item, figure });
    assert.deepEqual(counts, [2, 1, 0]);
  });

  test("a sparkline has a character for each value, and a space for none", () => {
    assert.equal(sparkline([0, 4, 8, Number.NaN]), "▁▅█ ");
    assert.equal(sparkline([]), "");
    assert.equal(sparkline([0, 0]), "▁▁");
  });

  test("numbers and tables are for people", () => {
    assert.equal(shown(12_345.67), "12,346");
    assert.equal(shown(0.5, 2), "0.50");
    assert.equal(shown(Number.NaN), "-");
    assert.equal(tableOf(["a", "b"], [["1", "2"]]), "| a | b |\n| --- | --- |\n| 1 | 2 |");
  });
});
