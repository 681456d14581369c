// One step of a history, and what several of them come to. (docs/architecture.md #histories.)
import type { Counts, Gauges } from "@claviger/gateway-core/src/redis/histories.ts";

export type Point = Counts &
  Gauges & {
    /** When it begins, Unix milliseconds. */
    readonly at: number;
    /** For how much of it something is known. */
    readonly knownMs: number;
    /** Gateways that have told of it. */
    readonly gateways: number;
    /** Nodes that were seen; absent where nobody has counted. */
    readonly nodes?: number;
  };

export const noCounts: Counts = { calls: [0, 0, 0], refusals: {} };

export function addRefusals(a: Counts["refusals"], b: Counts["refusals"]): Counts["refusals"] {
  const sum: Record<string, number> = { ...a };
  for (const [reason, count] of Object.entries(b)) sum[reason] = (sum[reason] ?? 0) + count;
  return sum;
}

export function addCounts(a: Counts, b: Counts): Counts {
  const [calls, more] = [a.calls, b.calls];
  return {
    calls: [calls[0] + more[0], calls[1] + more[1], calls[2] + more[2]],
    refusals: addRefusals(a.refusals, b.refusals),
  };
}

function most(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.max(a, b);
}

function mostOfEach(
  a: Readonly<Record<string, number>> = {},
  b: Readonly<Record<string, number>> = {},
): Readonly<Record<string, number>> {
  return {
    ...a,
    ...Object.fromEntries(Object.entries(b).map(([name, value]) => [name, most(a[name], value) ?? value])),
  };
}

/** Two steps of one series as one: sums, and of what is no count the most. Nodes are those of the later one. */
export function joinPoints(a: Point, b: Point): Point {
  const nodes = b.nodes ?? a.nodes;
  const eventLoop = most(a.eventLoop, b.eventLoop);
  const connections = most(a.connections, b.connections);
  const down = [...new Set([...(a.down ?? []), ...(b.down ?? [])])];
  const latency = mostOfEach(a.latency, b.latency);
  const [batches, more] = [a.batches ?? [0, 0], b.batches ?? [0, 0]];
  return {
    at: a.at,
    knownMs: a.knownMs + b.knownMs,
    gateways: Math.max(a.gateways, b.gateways),
    ...addCounts(a, b),
    ...(nodes !== undefined && { nodes }),
    ...(eventLoop !== undefined && { eventLoop }),
    ...(connections !== undefined && { connections }),
    ...((a.down ?? b.down) !== undefined && { down }),
    ...((a.latency ?? b.latency) !== undefined && { latency }),
    ...((a.batches ?? b.batches) !== undefined && {
      batches: [batches[0] + more[0], batches[1] + more[1]] as const,
    }),
  };
}

/** All steps as one that begins at `at`; undefined where there is none. */
export function joinAll(at: number, points: readonly Point[]): Point | undefined {
  const [first, ...rest] = points;
  return first === undefined ? undefined : rest.reduce(joinPoints, { ...first, at });
}
