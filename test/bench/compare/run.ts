// The whole comparison: starts the sides, gives each load to each of them in turn, several rounds, and
// prints what came out.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMemoryCgroup } from "../../lab/cgroup.ts";
import { writeBodies } from "../calls.ts";
import { writeCharts } from "./charts.ts";
import type { Measured } from "./goals.ts";
import { type LoadName, loads } from "./loads.ts";
import { type Figures, measure, usages } from "./measure.ts";
import { costTable, gatewayTable, goalTable, machineOf } from "./report.ts";
import { type Limits, otherSide, type Side, startClaviger, startDirect } from "./sides.ts";
import type { StartTimes } from "./start.ts";

export type Options = {
  readonly rounds: number;
  /** Of each load in each round. */
  readonly seconds: number;
  /** Different seeds that are decrypted. */
  readonly seeds: number;
  readonly starts: number;
  /** Another plugin's socket, and its process. */
  readonly other?: { readonly socket: string; readonly pid: number | undefined };
  /** Where SVG files go. */
  readonly charts?: string;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
};

const mib = 2 ** 20;
/** infra/shim/claviger-shim.service and infra/gateway/deployment.yaml. */
const memory = { shim: 256, gateway: 512 } as const;

function makeLimits(say: Options["say"]): Limits | undefined {
  try {
    const name = `claviger-bench-${process.pid}`;
    return {
      shim: createMemoryCgroup(`${name}-shim`, memory.shim * mib),
      gateway: createMemoryCgroup(`${name}-gateway`, memory.gateway * mib),
    };
  } catch (error) {
    say(`  without memory limits: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

type Tally = { -readonly [K in keyof Measured]: Measured[K] } & {
  readonly loads: Map<LoadName, Figures[]>;
  readonly starts: StartTimes[];
};

/** Starts again what a load has ended. @returns whether there was such. @throws Error when it is not ours */
async function revive(side: Side, say: Options["say"]): Promise<boolean> {
  const isWhole = (): boolean => [...side.parts().values()].every((pid) => existsSync(`/proc/${pid}`));
  if (isWhole()) return false;
  say(`  ${side.name}: a process has ended under the load, and is started again. Its log ends:\n${side.lastWords()}`);
  if (side.restart === undefined) throw new Error(`${side.name} has ended under the load`);
  await side.restart();
  if (!isWhole()) throw new Error(`${side.name}: more than its plugin has ended`);
  return true;
}

async function compare(sides: readonly Side[], options: Options): Promise<readonly Measured[]> {
  const { say, signal, rounds, seconds } = options;
  const records: Tally[] = [];
  for (const side of sides) {
    say(`  ${side.name}: starting ${options.starts} times, then ${options.seeds} Encrypts ...`);
    const starts: StartTimes[] = [];
    for (let i = 0; i < options.starts && side.restart !== undefined; i += 1) starts.push(await side.restart());
    records.push({ name: side.name, loads: new Map(), starts, idle: usages(side), ended: 0 });
    signal.throwIfAborted();
  }
  const bodies = await Promise.all(sides.map(({ socket, dir }) => writeBodies(socket, dir, options.seeds)));
  for (const load of loads)
    for (let round = 1; round <= rounds; round += 1)
      for (const [i, side] of sides.entries()) {
        signal.throwIfAborted();
        const [record, own] = [records[i], bodies[i]];
        if (record === undefined || own === undefined) throw new TypeError("a side without a record");
        say(`  ${load.name}, ${side.name}, round ${round} of ${rounds} ...`);
        const figures = await measure(side, own, load, seconds);
        record.loads.set(load.name, [...(record.loads.get(load.name) ?? []), figures]);
        if (await revive(side, say)) record.ended += 1;
      }
  return records;
}

/** Measures, and returns the report in Markdown. */
export async function runComparison(options: Options): Promise<string> {
  const { say, rounds, seconds, other } = options;
  const dir = mkdtempSync(join(tmpdir(), "bench-"));
  const limits = makeLimits(say);
  const machine = machineOf(
    limits === undefined ? "no memory limits" : `memory limits of ${memory.shim} and ${memory.gateway} MiB`,
  );
  const sides: Side[] = [];
  try {
    say("  starting the direct plugin with its OpenBao ...");
    sides.push(await startDirect(join(dir, "direct")));
    say("  building Claviger, starting it with its OpenBao ...");
    sides.push(await startClaviger(dir, limits));
    if (other !== undefined) sides.push(otherSide(join(dir, "other"), other.socket, other.pid));
    const measured = await compare(sides, options);
    const [direct, ours, ...others] = measured;
    if (direct === undefined || ours === undefined) throw new TypeError("sides are missing");
    const charts = options.charts === undefined ? [] : writeCharts(options.charts, measured);
    return [
      "# Claviger beside a direct plugin\n",
      ...machine,
      `* medians of ${rounds} rounds of ${seconds} s each; a deadline of 3 s\n`,
      `${goalTable(direct, ours, others)}\n`,
      `${costTable(measured)}\n`,
      gatewayTable(ours),
      ...(charts.length === 0 ? [] : [`\nCharts: ${charts.join(", ")}`]),
    ].join("\n");
  } finally {
    for (const side of sides) await side.stop();
    for (const limit of limits === undefined ? [] : Object.values(limits)) limit.remove();
    rmSync(dir, { recursive: true, force: true });
  }
}
