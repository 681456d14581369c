// What the search of memory and files finds.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { suite, test } from "node:test";
import { createFinder } from "../../lab/finder.ts";

const page = 4096;

function count(chunk: Buffer, ...patterns: readonly Buffer[]): readonly number[] {
  const counts = patterns.map(() => 0);
  const named = patterns.map((bytes, i) => ({ name: String(i), bytes }));
  createFinder(named)(chunk, ({ name }) => void (counts[Number(name)] = (counts[Number(name)] ?? 0) + 1));
  return counts;
}

suite("a search for patterns", () => {
  const pattern = Buffer.concat([Buffer.from("p"), randomBytes(31)]);

  for (const at of [0, 1, page - 1, page, page + 1, 3 * page - 32, 3 * page - 16])
    test(`finds one at byte ${at} among zeros, and among others`, () => {
      for (const fill of [0, 0x70]) {
        const chunk = Buffer.alloc(5 * page, fill);
        assert.deepEqual(count(chunk, pattern), [0]);
        pattern.copy(chunk, at);
        assert.deepEqual(count(chunk, pattern), [1]);
      }
    });

  test("finds one at the very end, and each of its copies", () => {
    const chunk = Buffer.alloc(2 * page + 100);
    pattern.copy(chunk, chunk.length - pattern.length);
    pattern.copy(chunk, 10);
    assert.deepEqual(count(chunk, pattern), [2]);
  });

  test("tells patterns with the same beginning apart", () => {
    const other = Buffer.concat([pattern.subarray(0, 31), Buffer.of((pattern[31] ?? 0) ^ 1)]);
    assert.deepEqual(count(Buffer.concat([Buffer.alloc(7), other, pattern, other]), pattern, other), [1, 2]);
  });

  test("finds one that begins with zeros at the end of a page of zeros", () => {
    const zeroed = Buffer.concat([Buffer.alloc(4), randomBytes(28)]);
    const chunk = Buffer.alloc(3 * page);
    zeroed.copy(chunk, page - 4);
    assert.deepEqual(count(chunk, zeroed), [1]);
  });
});
