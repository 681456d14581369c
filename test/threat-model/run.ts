// Starts the real parts, row by row, and gives what was found.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tryAttackers } from "./attackers.ts";
import { piecesOf, type Pieces } from "./document.ts";
import type { Row } from "./row.ts";
import { externalSecretsTools } from "./rows/external-secrets.ts";
import { fileSystem } from "./rows/filesystem.ts";
import { localKey, noEncryption } from "./rows/local.ts";
import { claviger } from "./rows/ours.ts";
import { sopsTools } from "./rows/sops.ts";
import { toolRows } from "./rows/tools.ts";
import { type Control, newControl } from "./search.ts";
import { startWorld, type World } from "./world.ts";

export type RunOptions = {
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
  /** SOPS and External Secrets are there: their rows, too. */
  readonly isAll: boolean;
};

type Site = { readonly dir: string; readonly control: Control };

const ownChoices: readonly ((site: Site) => Promise<Row>)[] = [
  noEncryption,
  fileSystem,
  (site) => localKey(site, "aescbc"),
  (site) => localKey(site, "secretbox"),
];

/** SOPS and External Secrets, over a kube-apiserver without encryption and over ours. */
async function broughtRows(world: World, dir: string): Promise<readonly Row[]> {
  const sops = await sopsTools(world, join(dir, "sops"));
  const operator = await externalSecretsTools(world, join(dir, "eso"));
  try {
    return await toolRows(world, [...operator.tools, ...sops], join(dir, "brought"));
  } finally {
    await operator.stop();
  }
}

/** @throws Error when a part does not start, or a search misses what was planted for it */
export async function runThreatModel({ signal, say, isAll }: RunOptions): Promise<Pieces> {
  const dir = await mkdtemp(join(tmpdir(), "claviger-tm-"));
  const control = newControl();
  const rows: Row[] = [];
  const add = (row: Row): void => {
    say(`  ${row.name}`);
    rows.push(row);
    signal.throwIfAborted();
  };
  // It starts while the first rows are taken.
  const starting = startWorld(join(dir, "ours"), control, signal);
  starting.catch(() => {});
  try {
    for (const [i, rowOf] of ownChoices.entries()) add(await rowOf({ dir: join(dir, `row-${i}`), control }));
    const world = await starting;
    const ours = await claviger(world);
    if (isAll) for (const row of await broughtRows(world, dir)) add(row);
    add(ours);
    return piecesOf(rows, await tryAttackers(world, say));
  } finally {
    await starting.then(
      (world) => world.stop(),
      () => {},
    );
    await rm(dir, { recursive: true, force: true });
  }
}
