// One load on one side: what the client saw, what each process used, what OpenBao was asked.
import { statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { type Usage, usageOf } from "../../lab/usage.ts";
import { type Bodies, type LoadResult, runLoad } from "../calls.ts";
import { vaultRequests } from "../fleet/meter.ts";
import type { Load } from "./loads.ts";
import type { Part, Side } from "./sides.ts";

export type MemoryOfParts = ReadonlyMap<Part, Pick<Usage, "rssMiB" | "privateMiB">>;

export type Figures = LoadResult & {
  /** Milliseconds for each call, lost ones counted, by process. */
  readonly cpuMs: ReadonlyMap<Part, number>;
  /** When the load has just ended. */
  readonly memory: MemoryOfParts;
  /** Requests for 1,000 calls; NaN where nobody counts them. */
  readonly vaultPer1000: number;
};

const [quietMs, longestMs] = [150, 5000];

function sizeOf(file: string | undefined): number {
  return file === undefined ? 0 : statSync(file).size;
}

/** Waits until OpenBao is asked nothing more: calls that their caller has given up may go on. */
async function untilQuiet({ auditLog }: Side): Promise<void> {
  for (const end = Date.now() + longestMs; Date.now() < end; ) {
    const size = sizeOf(auditLog);
    await sleep(quietMs);
    if (sizeOf(auditLog) === size) return;
  }
}

export function usages(side: Side): ReadonlyMap<Part, Usage> {
  return new Map([...side.parts()].map(([part, pid]) => [part, usageOf(pid)]));
}

export async function measure(side: Side, bodies: Bodies, load: Load, seconds: number): Promise<Figures> {
  const { socket, auditLog } = side;
  const { method, concurrency } = load;
  const [before, from] = [usages(side), sizeOf(auditLog)];
  const result = await runLoad({ socket, path: methods[method], bodies: bodies[method], concurrency, seconds });
  const memory = usages(side);
  await untilQuiet(side);
  const after = usages(side);
  const asked = auditLog === undefined ? undefined : await vaultRequests(auditLog, from, sizeOf(auditLog));
  const requests = asked === undefined ? Number.NaN : [...asked.values()].reduce((sum, count) => sum + count, 0);
  return {
    ...result,
    // No answer took no time, and not 0 ms.
    ...(result.perSecond === 0 && { p50: Number.NaN, p99: Number.NaN }),
    cpuMs: new Map(
      [...after].map(([part, { cpuMs }]) => [part, (cpuMs - (before.get(part)?.cpuMs ?? Number.NaN)) / result.calls]),
    ),
    memory,
    vaultPer1000: (requests / result.calls) * 1000,
  };
}
