// What replicas tell each other about keys: one reads, the others believe it for an interval. Redis
// may forge, replay, forget or hang: a value counts only with a good HMAC, under its own name,
// newer than any seen before and younger than a few intervals. (docs/architecture.md #keys.)
import { onKeyNews, publishKeyNews } from "@claviger/gateway-core/src/redis/channels.ts";
import type { RedisStore } from "@claviger/gateway-core/src/redis/client.ts";
import { readKeyReport, type SharedKeyState, writeKeyReport } from "@claviger/gateway-core/src/redis/key-reports.ts";

export interface SharedKeyCache {
  /**
   * May this replica do the work `name` now? True for one replica in each interval; true as well
   * when Redis does not answer.
   */
  tryAcquire(name: string, milliseconds: number): Promise<boolean>;
  /**
   * The newest report of a key that is not older than `maxAgeMs`; undefined when there is none to
   * believe. Never rejects.
   */
  read(key: string, maxAgeMs: number): Promise<SharedKeyState | undefined>;
  /** Leaves a report for the others, and tells them when something changed. Never rejects. */
  post(key: string, report: SharedKeyState, hasChanged: boolean): Promise<void>;
  /** Tells the others that there is something to read about a key. A hint: never rejects. */
  announce(key: string): Promise<void>;
  /** Calls back when another replica says that a key changed. A hint: read before believing. */
  onInvalidate(listener: (key: string) => void): void;
}

/**
 * @param secret the HMAC key that all gateways derive through their backend; undefined while it is
 * not known yet: then every replica works for itself
 * @param now Unix milliseconds
 */
export function createSharedKeyCache({
  redis,
  secret,
  now = Date.now,
}: {
  readonly redis: RedisStore;
  readonly secret: () => Uint8Array | undefined;
  readonly now?: () => number;
}): SharedKeyCache {
  const seen = new Map<string, number>();

  return {
    async tryAcquire(name, milliseconds) {
      try {
        return await redis.tryAcquire(`claim:${name}`, milliseconds);
      } catch {
        return true;
      }
    },
    async read(key, maxAgeMs) {
      const own = secret();
      if (own === undefined) return undefined;
      try {
        const report = await readKeyReport(redis, own, key);
        if (
          report === undefined ||
          report.sequence < (seen.get(key) ?? 0) ||
          Math.abs(now() - report.sequence) > maxAgeMs
        )
          return undefined;
        const { sequence, ...found } = report;
        seen.set(key, sequence);
        return found;
      } catch {
        return undefined;
      }
    },
    async post(key, report, hasChanged) {
      const own = secret();
      if (own === undefined) return;
      const sequence = Math.max(now(), (seen.get(key) ?? 0) + 1);
      seen.set(key, sequence);
      try {
        await writeKeyReport(redis, own, key, { ...report, sequence });
        if (hasChanged) await publishKeyNews(redis, key);
      } catch {
        // The others will read for themselves.
      }
    },
    async announce(key) {
      await publishKeyNews(redis, key).catch(() => {});
    },
    onInvalidate(listener) {
      onKeyNews(redis, listener);
    },
  };
}

/** Where there is no Redis: every replica works for itself. */
export function createNoOpKeyCache(): SharedKeyCache {
  return {
    tryAcquire: () => Promise.resolve(true),
    read: () => Promise.resolve(undefined),
    post: () => Promise.resolve(),
    announce: () => Promise.resolve(),
    onInvalidate: () => {},
  };
}
