// The page of mutation runs, and that what is explained there is there.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Measured } from "../../mutation/measure.ts";
import { type Mutant, mutantsOf } from "../../mutation/mutants.ts";
import { judge, leastScore, pageOf, problemsOf } from "../../mutation/report.ts";
import { explained } from "../../mutation/survivors.ts";
import { targets } from "../../mutation/targets.ts";

const root = join(import.meta.dirname, "..", "..", "..");
const mutant = (line: number): Mutant => ({ line, was: `a(${line});`, is: ";", text: "" });
const measured = (source: string, count: number, ...survivors: readonly Mutant[]): Measured => ({
  target: { source, tests: [] },
  count,
  survivors,
});
const why = (source: string, { was, is }: Mutant) => ({ source, was, is, why: `same ${was}` });

test("a mutant is one change, shown with its line before and after", () => {
  const [always, never, ...others] = mutantsOf("export function f(a: number): number {\n  return a ? 2 : 3;\n}\n");
  assert.deepEqual(
    [always, never].map((one) => [one?.line, one?.was, one?.is]),
    [
      [2, "return a ? 2 : 3;", "return true ? 2 : 3;"],
      [2, "return a ? 2 : 3;", "return false ? 2 : 3;"],
    ],
  );
  assert.match(always?.text ?? "", /return true \? 2 : 3;/);
  assert.deepEqual(others, []);
});

test("an explanation stands for one survivor of its source, and one that stands for none is a problem", () => {
  const [one, two] = [mutant(1), mutant(2)];
  const judged = judge(measured("x.ts", 100, one, two), [why("x.ts", two), why("y.ts", one)]);
  assert.deepEqual([...judged.why], [[two, "same a(2);"]]);
  assert.deepEqual(problemsOf([judged]), []);
  const twice = judge(measured("x.ts", 100, one), [why("x.ts", one), why("x.ts", one)]);
  assert.match(problemsOf([twice]).join(), /x\.ts: explained, and noticed or not there: a\(1\);/);
});

test("less than the score that is wanted is a problem, and so is a source without mutants", () => {
  const survivors = Array.from({ length: 11 }, (_, line) => mutant(line));
  assert.deepEqual(problemsOf([judge(measured("x.ts", 110, ...survivors), [])]), []);
  assert.match(problemsOf([judge(measured("x.ts", 109, ...survivors), [])]).join(), /x\.ts: 89\.9 % noticed/);
  const explaining = survivors.slice(0, 1).map((one) => why("x.ts", one));
  assert.deepEqual(problemsOf([judge(measured("x.ts", 109, ...survivors), explaining)]), []);
  assert.match(problemsOf([judge(measured("x.ts", 0), [])]).join(), /no mutants/);
});

test("a page keeps what an earlier run has written of other sources, in the order of the targets", () => {
  const [one, two] = [mutant(1), mutant(2)];
  const first = pageOf(
    [judge(measured("b.ts", 10, one), [why("b.ts", one)]), judge(measured("gone.ts", 3), [])],
    ["a.ts", "b.ts", "gone.ts"],
  );
  const second = pageOf([judge(measured("a.ts", 20, two), [])], ["a.ts", "b.ts"], first);
  assert.deepEqual(
    second.split("\n").filter((line) => line.includes(".ts |") || line.startsWith("### ")),
    ["| a.ts | 20 | 19 | 95.0 | 0 | 95.0 |", "| b.ts | 10 | 9 | 90.0 | 1 | 100.0 |", "### a.ts", "### b.ts"],
  );
  assert.match(second, /### a\.ts\n\n\* `a\(2\);` → `;`\\\n {2}not explained\n/);
  assert.match(second, /### b\.ts\n\n\* `a\(1\);` → `;`\\\n {2}same a\(1\);\n/);
  assert.equal(pageOf([], ["a.ts", "b.ts"], second), second);
});

test("what is explained is a mutant of its source", () => {
  for (const { source, was, is } of explained) {
    assert.ok(
      targets.some((target) => target.source === source),
      source,
    );
    const all = mutantsOf(readFileSync(join(root, source), "utf8"));
    assert.ok(
      all.some((one) => one.was === was && one.is === is),
      `${source}: ${was} → ${is}`,
    );
  }
});

test("docs/mutation.md has a good score for each target, and for nothing else", () => {
  const rows = readFileSync(join(root, "docs", "mutation.md"), "utf8")
    .split("\n")
    .filter((line) => /^\| \S+\.ts \|/.test(line))
    .map((line) => line.slice(2, -2).split(" | "));
  assert.deepEqual(
    rows.map(([source]) => source),
    targets.map(({ source }) => source),
  );
  for (const row of rows) assert.ok(Number(row.at(-1)) >= leastScore, row.join(" "));
});
