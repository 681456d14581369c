// Starts the real parts, row by row, and gives what was found.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { piecesOf, type Pieces } from "./document.ts";
import type { Row } from "./row.ts";
import { fileSystem } from "./rows/filesystem.ts";
import { localKey, noEncryption } from "./rows/local.ts";
import { claviger } from "./rows/ours.ts";
import { type Control, newControl } from "./search.ts";
import { startWorld } from "./world.ts";

export type RunOptions = { readonly signal: AbortSignal; readonly say: (text: string) => void };

type Site = { readonly dir: string; readonly control: Control };

const others: readonly ((site: Site) => Promise<Row>)[] = [
  noEncryption,
  fileSystem,
  (site) => localKey(site, "aescbc"),
  (site) => localKey(site, "secretbox"),
];

/** @throws Error when a part does not start, or a search misses what was planted for it */
export async function runThreatModel({ signal, say }: RunOptions): Promise<Pieces> {
  const dir = await mkdtemp(join(tmpdir(), "claviger-tm-"));
  const control = newControl();
  const rows: Row[] = [];
  try {
    for (const [i, rowOf] of others.entries()) {
      signal.throwIfAborted();
      const row = await rowOf({ dir: join(dir, `row-${i}`), control });
      say(`  ${row.name}`);
      rows.push(row);
    }
    const world = await startWorld(join(dir, "ours"), control, signal);
    try {
      const row = await claviger(world);
      say(`  ${row.name}`);
      rows.push(row);
    } finally {
      await world.stop();
    }
    return piecesOf(rows);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
