// What a run costs: CPU and memory of each part, requests that Vault saw, connections that a gateway has.
import { createReadStream, statSync } from "node:fs";
import { createInterface } from "node:readline";
import { usageOf } from "../../lab/usage.ts";
import type { Simulators } from "./simulators.ts";
import type { World } from "./world.ts";

/** What was used since the last time. */
export type Cost = {
  readonly seconds: number;
  /** By part: 100 is one core. */
  readonly cpu: ReadonlyMap<string, number>;
  /** By part, at this moment, MiB. */
  readonly rss: ReadonlyMap<string, number>;
  /** Requests to Vault by what they are for; our own with the root token are not among them. */
  readonly vault: ReadonlyMap<string, number>;
};

type AuditLine = {
  readonly type: string;
  readonly auth?: { readonly policies?: readonly string[] };
  readonly request?: { readonly path?: string; readonly operation?: string };
};

/** Patterns of paths, and what requests to them are for; the first one counts. */
const purposes: readonly (readonly [RegExp, string])[] = [
  [/^read transit\/keys\//, "key read"],
  [/^update transit\/keys\/[^/]+\/config$/, "promotion"],
  [/^update transit\/keys\/[^/]+\/rotate$/, "rotation"],
  [/^update transit\/encrypt\//, "encrypt"],
  [/^update transit\/decrypt\//, "decrypt"],
  [/^update transit\/hmac\//, "hmac"],
  [/^\w+ auth\//, "login"],
  [/^\w+ claviger\//, "registry"],
];

/**
 * What OpenBao wrote down between two places of its audit log, by what it was for; our own requests
 * with the root token left out.
 */
export async function vaultRequests(file: string, from: number, to: number): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  if (to <= from) return counts;
  for await (const line of createInterface({ input: createReadStream(file, { start: from, end: to - 1 }) })) {
    // The first and the last line may be a piece of one.
    if (!line.startsWith("{") || !line.endsWith("}")) continue;
    const { type, auth, request } = JSON.parse(line) as AuditLine;
    if (type !== "request" || auth?.policies?.includes("root") === true) continue;
    const what = `${request?.operation ?? ""} ${request?.path ?? ""}`;
    const purpose = purposes.find(([pattern]) => pattern.test(what))?.[1] ?? "other";
    counts.set(purpose, (counts.get(purpose) ?? 0) + 1);
  }
  return counts;
}

export type Meter = {
  /** The cost since the last call, or since the meter was made. */
  take(): Promise<Cost>;
};

export function createMeter({ gateways, bao, redis }: World, simulators: Simulators): Meter {
  const parts = (): ReadonlyMap<string, readonly number[]> =>
    new Map([
      ...gateways.map(({ name, proc }) => [name, [proc.pid]] as const),
      ["OpenBao", [bao.proc().pid]],
      ["Redis", [redis.proc().pid]],
      ["simulated shims", simulators.pids()],
    ]);
  const read = () => {
    const usage = [...parts()].map(([name, pids]) => [name, pids.map((pid) => ({ pid, ...usageOf(pid) }))] as const);
    return { at: performance.now(), usage: new Map(usage), size: statSync(bao.auditLog).size };
  };
  let before = read();
  return {
    async take() {
      const now = read();
      const earlier = new Map([...before.usage.values()].flat().map(({ pid, cpuMs }) => [pid, cpuMs]));
      const [from, wallMs] = [before.size, now.at - before.at];
      before = now;
      const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
      const cpuOf = (pid: number, cpuMs: number): number => ((cpuMs - (earlier.get(pid) ?? 0)) / wallMs) * 100;
      const parted = [...now.usage];
      return {
        seconds: wallMs / 1000,
        cpu: new Map(parted.map(([name, all]) => [name, sum(all.map(({ pid, cpuMs }) => cpuOf(pid, cpuMs)))])),
        rss: new Map(parted.map(([name, all]) => [name, sum(all.map(({ rssMiB }) => rssMiB))])),
        vault: await vaultRequests(bao.auditLog, from, now.size),
      };
    },
  };
}

/** All requests of a cost, in a second. */
export function vaultPerSecond({ vault, seconds }: Cost): number {
  return [...vault.values()].reduce((sum, count) => sum + count, 0) / seconds;
}

/** The sum of a metric on a gateway's page; NaN while it does not answer, or has none. */
export async function metricOf(page: string, name: string): Promise<number> {
  try {
    const text = await (await fetch(page, { signal: AbortSignal.timeout(5000) })).text();
    const values = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? ([0-9.e+-]+)`, "gm"))];
    return values.length === 0 ? Number.NaN : values.reduce((sum, [, value]) => sum + Number(value), 0);
  } catch {
    return Number.NaN;
  }
}
