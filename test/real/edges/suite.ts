// One section of docs/edges.md as a suite. A full run (`npm run test:full -- edges`) runs every cell and
// writes the page; any other runs a few of them, and compares.
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { type Cell, runCell, untilQuiet, type World } from "./cell.ts";
import { cellsOf, readPage, writeRow } from "./page.ts";
import { type Dependency, type Fault, faults, type Row } from "./rows.ts";

const isFull = process.env["CLAVIGER_TEST_FULL"] === "1";

/** A cell that no test can reach, and why. */
export type Unreachable = { readonly unreachable: string };

export type Cells<W extends World> = Readonly<Record<Fault, Cell<W> | Unreachable>>;

function unreachableRow(reason: string): Row {
  return { cause: `not tested: ${reason}`, callers: "–", readyz: "–", log: "–", metrics: "–", end: "–" };
}

export function describeEdges<W extends World>({
  dependency,
  start,
  cells,
  sample,
}: {
  readonly dependency: Dependency;
  readonly start: () => Promise<W>;
  readonly cells: Cells<W>;
  /** Run every time. */
  readonly sample: readonly Fault[];
}): void {
  suite(dependency, () => {
    let world: W | undefined;
    const chosen = isFull ? faults : sample;
    before(async () => {
      if (chosen.length === 0) return;
      world = await start();
      await untilQuiet(world);
    });
    after(() => world?.stop());

    for (const fault of chosen)
      test(fault, async () => {
        const cell = cells[fault];
        assert.ok(world !== undefined);
        const row = "unreachable" in cell ? unreachableRow(cell.unreachable) : await runCell(world, cell);
        if (isFull) await writeRow(dependency, fault, row);
        else
          assert.deepEqual(
            readPage().get(`${dependency} / ${fault}`),
            cellsOf(row),
            "docs/edges.md: run `npm run test:full -- edges`",
          );
      });

    test("every row of the page is that of a cell, and says something", () => {
      const rows = readPage();
      for (const fault of faults) {
        const found = rows.get(`${dependency} / ${fault}`) ?? [];
        const cell = cells[fault];
        const cause = "unreachable" in cell ? `not tested: ${cell.unreachable}` : cell.how;
        assert.equal(found.length, 6, `${fault}: ${found.length} cells`);
        assert.ok(
          found.every((text) => text.trim() !== ""),
          fault,
        );
        assert.equal(found[0], cause.replaceAll("|", "\\|"), "docs/edges.md: run `npm run test:full -- edges`");
      }
    });
  });
}
