// The last hour in steps of ten seconds, of the fleet, of each gateway and of each cluster: what gateways have
// written to Redis, read when somebody asks, each step once. (docs/architecture.md #histories.)
import type { RedisStore } from "@claviger/gateway-core/src/redis/client.ts";
import { keptSteps, readHistoryNames, readHistorySteps, stepMs } from "@claviger/gateway-core/src/redis/histories.ts";
import { fold, type HourView, newRead, nodesSeries, prune, viewOf } from "./hour-steps.ts";
import type { Point } from "./point.ts";

/** Steps that are read together: each may name every cluster. */
const together = 8;
/** A gateway that is slow, or whose clock is behind, writes a step so much later; then it has none. */
const lateSteps = 6;
/** So long after nobody has asked it is forgotten; it can be read again. */
const idleMs = 300_000;
/** So long it is not read again. */
const freshMs = 1000;

export interface Hour {
  /** @throws Error where Redis does not answer */
  read(): Promise<HourView>;
  close(): void;
}

/**
 * @param secret the integrity key; undefined while it is not known
 * @param now Unix milliseconds
 */
export function createHour({
  redis,
  secret,
  now = Date.now,
}: {
  readonly redis: Pick<RedisStore, "all" | "some">;
  readonly secret: () => Uint8Array | undefined;
  readonly now?: () => number;
}): Hour {
  let state = newRead();
  let readAt = Number.NEGATIVE_INFINITY;
  let flight: Promise<void> | undefined;
  let idle: NodeJS.Timeout | undefined;

  const load = async (): Promise<void> => {
    const key = secret();
    if (key === undefined) throw new Error("the integrity key is not known yet; the log says why");
    const at = now();
    const read = state;
    const current = Math.floor(at / stepMs);
    prune(read, current - keptSteps + 1);
    const { names } = await readHistoryNames(redis, key, at);
    for (const name of [...names, nodesSeries]) {
      const gateway = read.gateways.get(name) ?? { points: new Map<number, Point>(), looked: new Set<number>() };
      read.gateways.set(name, gateway);
      const wanted: number[] = [];
      for (let step = read.from; step < current; step += 1) if (!gateway.looked.has(step)) wanted.push(step);
      for (let i = 0; i < wanted.length; i += together) {
        const some = wanted.slice(i, i + together);
        const found = await readHistorySteps(
          redis,
          key,
          name,
          some.map((step) => step * stepMs),
        );
        for (const [j, step] of some.entries()) {
          const told = found[j];
          if (told === undefined && step > current - lateSteps) continue;
          gateway.looked.add(step);
          if (told !== undefined) fold(read, name, step, told);
        }
      }
    }
    readAt = at;
  };
  return {
    async read() {
      clearTimeout(idle);
      idle = setTimeout(() => {
        [state, readAt] = [newRead(), Number.NEGATIVE_INFINITY];
      }, idleMs).unref();
      if (now() - readAt >= freshMs)
        await (flight ??= load().finally(() => {
          flight = undefined;
        }));
      return viewOf(state, Math.floor(now() / stepMs));
    },
    close: () => clearTimeout(idle),
  };
}
