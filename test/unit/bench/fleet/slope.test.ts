import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { slopeOf } from "../../../bench/fleet/slope.ts";

suite("the slope of memory", () => {
  test("is that of the second half, an hour, and begins where that begins", () => {
    const points = Array.from({ length: 21 }, (_, i) => [i * 60, i < 10 ? i * 100 : 50 + (i - 10)] as const);
    const { perHour, from } = slopeOf(points);
    assert.ok(Math.abs(perHour - 60) < 1e-6, `${perHour}`);
    assert.ok(Math.abs(from - 50) < 1e-6, `${from}`);
  });

  test("is not a number where there is no line", () => {
    assert.ok(Number.isNaN(slopeOf([]).perHour));
    assert.ok(Number.isNaN(slopeOf([[0, 1]]).perHour));
  });
});
