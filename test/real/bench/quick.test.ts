// `npm run bench -- --quick` runs to its end, here and so on any machine: every row of its table has
// figures of both sides, and its charts are there. What the figures are is no matter of a test.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { rowsOf } from "./tables.ts";

const root = join(import.meta.dirname, "..", "..", "..");
const limitMs = 180_000;

/** The words that rows begin with, and how many rows begin so. */
const expected = {
  "idle encrypt, one at a time": 2,
  "idle decrypt, one at a time": 2,
  "idle status, one at a time": 2,
  "64 decrypts at once": 4,
  "512 decrypts at once": 4,
  "4,096 decrypts at once": 4,
  "64 encrypts at once": 4,
  "Vault requests per 1,000 calls": 4,
  "CPU ms per call": 2,
  "start to first good": 2,
  "RSS MiB": 2,
  "processes that ended": 1,
} as const;

function numberOf(cell: string | undefined): number {
  return cell === undefined || cell === "" ? Number.NaN : Number(cell.replaceAll(",", ""));
}

suite("npm run bench -- --quick", () => {
  let dir: string;
  let charts: string;
  let table: readonly (readonly string[])[];
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "claviger-"));
    charts = join(dir, "charts");
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [join(root, "test", "run", "bench.ts"), "--quick", "--charts", charts],
      { timeout: limitMs },
    );
    table = rowsOf(stdout);
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  test("every row of the table has a figure of the direct plugin and one of Claviger", () => {
    for (const [words, count] of Object.entries(expected)) {
      const rows = table.filter(([name]) => name?.startsWith(words)).slice(0, count);
      assert.equal(rows.length, count, words);
      for (const [name, direct, ours] of rows) {
        // On a slow machine none of 4,096 calls may be answered in time, and then none has a time.
        const mayLack = name?.startsWith("4,096 decrypts at once: p") === true;
        for (const cell of [direct, ours])
          assert.ok(numberOf(cell) >= 0 || (mayLack && cell === "-"), `${name}: ${direct}, ${ours}`);
      }
    }
  });

  test("both sides answered storms, and the direct plugin asked OpenBao as often as the plugins of the field do", () => {
    const row = (words: string): readonly string[] => table.find(([name]) => name?.startsWith(words)) ?? [];
    for (const words of ["64 decrypts at once: calls/s", "64 encrypts at once: calls/s"]) {
      const [, direct, ours] = row(words);
      assert.ok(numberOf(direct) > 0 && numberOf(ours) > 0, words);
    }
    // In the table of costs. One caller at a time, so that no call is lost on a slow machine.
    const asked = (load: string): number => numberOf(table.find(([name]) => name === load)?.[1]);
    for (const [load, count] of [
      ["idle decrypt", 1000],
      ["idle encrypt", 2000],
      ["idle status", 4000],
    ] as const)
      assert.ok(Math.abs(asked(load) / count - 1) < 0.1, `${load}: ${asked(load)} requests to Vault for 1,000 calls`);
  });

  test("the charts are SVG with a bar for each side", () => {
    assert.deepEqual(readdirSync(charts).toSorted(), ["cost.svg", "latency.svg", "process.svg", "speed.svg"]);
    for (const name of readdirSync(charts)) {
      const text = readFileSync(join(charts, name), "utf8");
      assert.ok(text.startsWith("<svg ") && text.trimEnd().endsWith("</svg>"), name);
      assert.ok((text.match(/<rect /g)?.length ?? 0) > 4, `${name} has bars`);
      assert.ok(!text.includes("NaN"), `${name} is complete`);
    }
  });
});
