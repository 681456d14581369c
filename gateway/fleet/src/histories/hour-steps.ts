// The last hour as it was read: of the fleet, of each gateway and of each cluster, by step; and a view of it.
// (docs/architecture.md #histories.)
import { type Counts, type HistoryStep, keptSteps, stepMs } from "@claviger/gateway-core/src/redis/histories.ts";
import { addCounts, addRefusals, noCounts, type Point } from "./point.ts";

/** Where this service writes how many nodes were seen, among the gateways. None has a name without a port. */
export const nodesSeries = "nodes";

const hourSteps = 360;

/** Counts of a cluster by step, in a ring. */
type Ring = {
  readonly calls: Uint32Array;
  readonly refusals: Map<number, Readonly<Record<string, number>>>;
  readonly nodes: Map<number, number>;
};

/** What was read of the last hour. */
export type Read = {
  /** The first step that it may have; steps are counted from 1970. */
  from: number;
  readonly fleet: Map<number, Point>;
  readonly gateways: Map<string, { readonly points: Map<number, Point>; readonly looked: Set<number> }>;
  readonly clusters: Map<string, Ring>;
  readonly nodes: Map<number, number>;
};

/** What is known, as it was read last. Steps that nobody has told of have no point. */
export interface HourView {
  fleet(): readonly Point[];
  gateway(name: string): readonly Point[];
  cluster(uid: string): readonly Point[];
  /** The calls of a cluster in steps of so many, the last ones, oldest first; undefined for those that are unknown. */
  calls(uid: string, steps: number, wide: number): readonly (number | undefined)[];
  /** Calls of a cluster that were not served, of the last hour. */
  refused(uid: string): number;
  /** Every gateway that has told of something. */
  readonly gateways: readonly string[];
  /** Unix milliseconds: what is known ends here at the latest. */
  readonly until: number;
}

function newRing(): Ring {
  return { calls: new Uint32Array(keptSteps * 3), refusals: new Map(), nodes: new Map() };
}

export function newRead(): Read {
  return { from: 0, fleet: new Map(), gateways: new Map(), clusters: new Map(), nodes: new Map() };
}

function placeOf(step: number): number {
  return (step % keptSteps) * 3;
}

function ringOf(read: Read, uid: string): Ring {
  const known = read.clusters.get(uid);
  if (known !== undefined) return known;
  const ring = newRing();
  read.clusters.set(uid, ring);
  return ring;
}

function callsAt({ calls }: Ring, step: number): number {
  const place = placeOf(step);
  return (calls[place] ?? 0) + (calls[place + 1] ?? 0) + (calls[place + 2] ?? 0);
}

/** Forgets what is before a step. */
export function prune(read: Read, from: number): void {
  for (let step = Math.max(read.from, from - keptSteps); step < from; step += 1) {
    read.fleet.delete(step);
    read.nodes.delete(step);
    for (const { points, looked } of read.gateways.values()) {
      points.delete(step);
      looked.delete(step);
    }
    for (const { calls, refusals, nodes } of read.clusters.values()) {
      calls.fill(0, placeOf(step), placeOf(step) + 3);
      refusals.delete(step);
      nodes.delete(step);
    }
  }
  read.from = Math.max(read.from, from);
  for (const [name, { points, looked }] of read.gateways)
    if (points.size + looked.size === 0) read.gateways.delete(name);
}

function addCluster(read: Read, step: number, uid: string, { calls, refusals }: Counts): void {
  const ring = ringOf(read, uid);
  for (const [i, count] of calls.entries()) {
    const place = placeOf(step) + i;
    ring.calls[place] = (ring.calls[place] ?? 0) + count;
  }
  if (Object.keys(refusals).length > 0) ring.refusals.set(step, addRefusals(ring.refusals.get(step) ?? {}, refusals));
}

/** Takes in what one gateway has told of one step. */
export function fold(read: Read, name: string, step: number, { clusters, nodes, ...own }: HistoryStep): void {
  if (name === nodesSeries) {
    const counts = Object.entries(nodes ?? {});
    for (const [uid, count] of counts) ringOf(read, uid).nodes.set(step, count);
    read.nodes.set(
      step,
      counts.reduce((sum, [, count]) => sum + count, 0),
    );
    return;
  }
  const point: Point = { ...own, knownMs: stepMs, gateways: 1 };
  read.gateways.get(name)?.points.set(step, point);
  const { at } = own;
  const before = read.fleet.get(step) ?? { at, knownMs: stepMs, gateways: 0, ...noCounts };
  read.fleet.set(step, { ...before, ...addCounts(before, own), gateways: before.gateways + 1 });
  for (const [uid, counts] of Object.entries(clusters)) addCluster(read, step, uid, counts);
}

export function viewOf(read: Read, until: number): HourView {
  const withNodes = (nodes: ReadonlyMap<number, number>, step: number) => {
    const count = nodes.get(step);
    return count === undefined ? {} : { nodes: count };
  };
  const unknown = (step: number): Point => ({ at: step * stepMs, knownMs: 0, gateways: 0, ...noCounts });
  /** Each step of which something is known. */
  const points = (
    nodes: ReadonlyMap<number, number>,
    countsAt: (step: number, known: Point) => Point,
  ): readonly Point[] => {
    const found: Point[] = [];
    for (let step = read.from; step < until; step += 1) {
      const known = read.fleet.get(step);
      if (known === undefined && !nodes.has(step)) continue;
      const point = known === undefined ? unknown(step) : countsAt(step, known);
      found.push({ ...point, ...withNodes(nodes, step) });
    }
    return found;
  };
  return {
    until: until * stepMs,
    gateways: [...read.gateways].flatMap(([name, { points: told }]) => (told.size === 0 ? [] : [name])).toSorted(),
    fleet: () => points(read.nodes, (_, known) => known),
    gateway: (name) =>
      [...(read.gateways.get(name)?.points ?? [])].toSorted(([a], [b]) => a - b).map(([, point]) => point),
    cluster(uid) {
      const { calls, refusals, nodes } = read.clusters.get(uid) ?? newRing();
      return points(nodes, (step, { at, knownMs, gateways }) => {
        const place = placeOf(step);
        const [status = 0, encrypt = 0, decrypt = 0] = calls.subarray(place, place + 3);
        return { at, knownMs, gateways, calls: [status, encrypt, decrypt], refusals: refusals.get(step) ?? {} };
      });
    },
    refused(uid) {
      let sum = 0;
      for (const [step, refusals] of read.clusters.get(uid)?.refusals ?? [])
        if (step >= until - hourSteps) sum += Object.values(refusals).reduce((all, count) => all + count, 0);
      return sum;
    },
    calls(uid, steps, wide) {
      const ring = read.clusters.get(uid);
      return Array.from({ length: steps }, (_, i) => {
        let sum: number | undefined;
        for (let step = until - (steps - i) * wide; step < until - (steps - i - 1) * wide; step += 1) {
          if (!read.fleet.has(step)) continue;
          sum = (sum ?? 0) + (ring === undefined ? 0 : callsAt(ring, step));
        }
        return sum;
      });
    },
  };
}
