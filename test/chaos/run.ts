// One fault under load: what it did to the calls, and how long it took until all was well again.
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../lab/process-group.ts";
import type { Course, Fault } from "./fault.ts";
import { type Call, type Load, streams } from "./load.ts";
import type { Site } from "./site.ts";

export type Outcome = {
  readonly fault: Fault;
  readonly requests: number;
  readonly failed: number;
  /** Failed calls of streams that had a replica of everything left. */
  readonly unexcused: number;
  readonly wrong: number;
  readonly lost: number;
  /** Of the calls that were answered well, milliseconds. */
  readonly slowest: { readonly kms: number; readonly secrets: number };
  /** From the end of the fault until every stream has had a good answer to everything, milliseconds. */
  readonly recovery: number;
  /** From the rotation in the middle of the fault until all shims show the new key_id, milliseconds. */
  readonly rotation: number;
  /** What failed or was wrong, and how often. */
  readonly reasons: ReadonlyMap<string, number>;
};

/** After all is well, for what comes late, milliseconds. */
const quietMs = 1500;
const rotationMs = 30_000;

function slowestOf(calls: readonly Call[]): number {
  return calls.reduce((most, { result, ms }) => (result === "ok" ? Math.max(most, ms) : most), 0);
}

/** What became of the calls. */
export function summaryOf(fault: Fault, calls: readonly Call[]): Omit<Outcome, "lost" | "recovery" | "rotation"> {
  const failed = calls.filter(({ result }) => result === "failed");
  const reasons = new Map<string, number>();
  for (const { result, stream, ask, reason } of calls)
    if (result !== "ok") {
      const text = `${stream} ${ask}: ${result}, ${reason}`;
      reasons.set(text, (reasons.get(text) ?? 0) + 1);
    }
  return {
    fault,
    requests: calls.length,
    failed: failed.length,
    unexcused: failed.filter((call) => fault.mayFail?.(call) !== true).length,
    wrong: calls.filter(({ result }) => result === "wrong").length,
    slowest: {
      kms: slowestOf(calls.filter(({ stream }) => stream !== "secrets")),
      secrets: slowestOf(calls.filter(({ stream }) => stream === "secrets")),
    },
    reasons,
  };
}

/** @param holdMs how long a fault usually lasts */
export async function runFault(fault: Fault, site: Site, load: Load, holdMs: number): Promise<Outcome> {
  await Promise.all(streams.map((stream) => load.firstGood(stream)));
  const before = await until("all shims to show one key_id", undefined, () => load.keyId());
  load.take();
  let rotated: Promise<number> | undefined;
  let recovered: Promise<number[]> | undefined;
  const rotateOnce = (): void => {
    rotated ??= site.rotate().then(async () => {
      const began = performance.now();
      await until(
        "all shims to show the new key_id",
        undefined,
        () => [load.keyId()].find((id) => id !== undefined && id !== before),
        rotationMs,
      );
      return performance.now() - began;
    });
    // Awaited at the end, whatever happens before.
    rotated.catch(() => {});
  };
  const course: Course = {
    async hold(ms = holdMs) {
      await sleep(ms / 2);
      rotateOnce();
      await sleep(ms / 2);
    },
    over() {
      recovered ??= Promise.all(streams.map((stream) => load.firstGood(stream)));
      recovered.catch(() => {});
    },
  };
  await fault.run(site, course);
  course.over();
  rotateOnce();
  const recovery = Math.max(...((await recovered) ?? []));
  const rotation = (await rotated) ?? Number.NaN;
  await sleep(quietMs);
  const lost = await load.lost("new");
  return { ...summaryOf(fault, load.take()), lost, recovery, rotation };
}
