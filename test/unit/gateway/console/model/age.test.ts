import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { formatAge, formatSpan, formatTime, timeOf } from "@claviger/console/src/model/age.ts";

const hour = 3_600_000;
const day = 24 * hour;

suite("ages", () => {
  const spans: readonly (readonly [number, string])[] = [
    [0, "0 s"],
    [-5, "0 s"],
    [59_999, "59 s"],
    [60_000, "1 min"],
    [61_000, "1 min 1 s"],
    [11 * 60_000 + 30_000, "11 min"],
    [hour, "1 h"],
    [hour + 90_000, "1 h 1 min"],
    [day, "1 d"],
    [day + 5 * hour, "1 d 5 h"],
    [100 * day + 5 * hour, "100 d"],
  ];
  for (const [ms, text] of spans)
    test(`${ms} ms are ${text}`, () => {
      assert.equal(formatSpan(ms), text);
    });

  test("what is to come is not what has been", () => {
    assert.equal(formatAge(1000, 4000), "3 s ago");
    assert.equal(formatAge(4000, 1000), "in 3 s");
    assert.equal(formatAge(1000, 1000), "0 s ago");
  });

  test("a time is exact, and in UTC", () => {
    assert.equal(formatTime(Date.UTC(2026, 10, 27, 6, 32, 3, 999)), "2026-11-27 06:32:03 UTC");
  });

  test("no timestamp is no time", () => {
    assert.equal(timeOf("2026-11-27T06:32:03.500Z"), Date.UTC(2026, 10, 27, 6, 32, 3, 500));
    for (const none of [undefined, "", "soon"]) assert.equal(timeOf(none), undefined);
  });
});
