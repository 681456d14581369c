// Counts the nodes of each cluster every five minutes, and adds each hour to the months when it is over. Several
// replicas share the work; done twice it comes to the same. (docs/architecture.md #histories.)
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { RedisStore } from "@claviger/gateway-core/src/redis/client.ts";
import { stepMs, writeHistoryStep } from "@claviger/gateway-core/src/redis/histories.ts";
import { signValue, verifyValue } from "@claviger/gateway-core/src/redis/signed-value.ts";
import { createGate } from "@claviger/gateway-core/src/registry/gate.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { notSeenMs } from "../node-view.ts";
import type { Sightings } from "../sightings.ts";
import type { Hour } from "./hour.ts";
import { nodesSeries } from "./hour-steps.ts";
import { addHour, hourMs, type SeriesName } from "./months.ts";
import { joinAll, noCounts, type Point } from "./point.ts";

const lookMs = 60_000;
const nodesMs = 300_000;
/** A lease ends a little before its work is due again. */
const leaseShare = 0.95;
/** The slowest gateway has written its last step by then. */
const lateMs = 60_000;
const addedKey = "months-added";
/** Months that are written at the same time. */
const parallel = 16;

export type Keeper = {
  /** What is due now. Never rejects. */
  look(): Promise<void>;
  close(): void;
};

/**
 * @param records every record of the registry
 * @param now Unix milliseconds
 */
export function createKeeper({
  redis,
  secret,
  hour,
  sightings,
  records,
  log,
  now = Date.now,
}: {
  readonly redis: Pick<RedisStore, "get" | "set" | "put" | "tryAcquire">;
  readonly secret: () => Uint8Array | undefined;
  readonly hour: Hour;
  readonly sightings: Pick<Sightings, "nodes">;
  readonly records: () => Promise<readonly ClusterRecord[]>;
  readonly log: Log;
  readonly now?: () => number;
}): Keeper {
  let isFailing = false;

  const countNodes = async (key: Uint8Array): Promise<void> => {
    if (!(await redis.tryAcquire("nodes-counted", nodesMs * leaseShare))) return;
    const uids = (await records()).map(({ uid }) => uid);
    const at = now();
    const { nodes, incomplete } = await sightings.nodes(uids);
    // What is not all is not counted.
    if (incomplete.some(({ kind }) => kind !== "refused")) return;
    const counted = [...nodes].map(([uid, reports]) => [
      uid,
      reports.filter((report) => at - report.at < notSeenMs).length,
    ]);
    await writeHistoryStep(redis, key, nodesSeries, {
      at: Math.floor(at / stepMs) * stepMs,
      ...noCounts,
      clusters: {},
      nodes: Object.fromEntries(counted) as Readonly<Record<string, number>>,
    });
  };

  const addLast = async (key: Uint8Array): Promise<void> => {
    const end = Math.floor(now() / hourMs) * hourMs;
    const begin = end - hourMs;
    if (now() - end < lateMs) return;
    const value = await redis.get(addedKey);
    if (value !== null && Number(verifyValue(key, addedKey, value)) >= begin) return;
    if (!(await redis.tryAcquire("months-adding", 2 * lookMs))) return;
    const view = await hour.read();
    const summed = (points: readonly Point[]): Point | undefined =>
      joinAll(
        begin,
        points.filter(({ at }) => at >= begin && at < end),
      );
    const series = [
      ["fleet", view.fleet()] as const,
      ...view.gateways.map((name) => [`gateway/${name}`, view.gateway(name)] as const),
      ...(await records()).map(({ uid }) => [`cluster/${uid}`, undefined] as const),
    ] satisfies readonly (readonly [SeriesName, readonly Point[] | undefined])[];
    const gate = createGate(parallel);
    await Promise.all(
      series.map(([name, points]) =>
        gate(async () => {
          const point = summed(points ?? view.cluster(name.slice("cluster/".length)));
          if (point !== undefined) await addHour(redis, key, name, point, now());
        }),
      ),
    );
    await redis.set(addedKey, signValue(key, addedKey, String(begin)), 2 * hourMs);
  };

  const look = async (): Promise<void> => {
    const key = secret();
    if (key === undefined) return;
    try {
      await countNodes(key);
      await addLast(key);
      isFailing = false;
    } catch (error) {
      if (!isFailing)
        log.warn(
          { event: "history-unwritten", err: error },
          "the history of the fleet cannot be added to; this is tried again each minute",
        );
      isFailing = true;
    }
  };
  const timer = setInterval(() => void look(), lookMs).unref();
  return { look, close: () => clearInterval(timer) };
}
