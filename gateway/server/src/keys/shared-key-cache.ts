// What replicas tell each other about keys: one reads, the others believe it for an interval. Redis
// may forge, replay, forget or hang: a value counts only with a good HMAC, under its own name,
// newer than any seen before and younger than a few intervals. (docs/architecture.md #keys.)
import type { KeyState } from "@claviger/gateway-core/src/backend/port.ts";
import { onKeyNews, publishKeyNews } from "@claviger/gateway-core/src/redis/channels.ts";
import type { RedisStore } from "@claviger/gateway-core/src/redis/client.ts";
import { verifyValue, signValue } from "@claviger/gateway-core/src/redis/signed-value.ts";

/** What one replica found out about a key. */
export type SharedKeyState = { readonly state: KeyState; readonly failing?: "encrypt" | "decrypt" };

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

type Payload = {
  readonly sequence: number;
  readonly versions: readonly (readonly [number, number])[];
  readonly latest: number;
  readonly minEncryption: number;
  readonly minDecryption: number;
  readonly failing?: "encrypt" | "decrypt";
};

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
  const open = (key: Uint8Array, name: string, value: string): Payload | undefined => {
    const text = verifyValue(key, name, value);
    // Behind a good HMAC the text is one that `post` wrote.
    return text === undefined ? undefined : (JSON.parse(text) as Payload);
  };

  return {
    async tryAcquire(name, milliseconds) {
      try {
        return await redis.tryAcquire(`claim:${name}`, milliseconds);
      } catch {
        return true;
      }
    },
    async read(key, maxAgeMs) {
      const name = `key:${key}`;
      const own = secret();
      if (own === undefined) return undefined;
      try {
        const value = await redis.get(name);
        const payload = value === null ? undefined : open(own, name, value);
        if (
          payload === undefined ||
          payload.sequence < (seen.get(key) ?? 0) ||
          Math.abs(now() - payload.sequence) > maxAgeMs
        )
          return undefined;
        seen.set(key, payload.sequence);
        const { versions, latest, minEncryption, minDecryption, failing } = payload;
        const state = { versions: new Map(versions), latest, minEncryption, minDecryption };
        return { state, ...(failing !== undefined && { failing }) };
      } catch {
        return undefined;
      }
    },
    async post(key, { state, failing }, hasChanged) {
      const name = `key:${key}`;
      const own = secret();
      if (own === undefined) return;
      const { latest, minEncryption, minDecryption } = state;
      const sequence = Math.max(now(), (seen.get(key) ?? 0) + 1);
      seen.set(key, sequence);
      const payload: Payload = {
        sequence,
        versions: [...state.versions].filter(([version]) => version >= minDecryption),
        latest,
        minEncryption,
        minDecryption,
        ...(failing !== undefined && { failing }),
      };
      try {
        await redis.set(name, signValue(own, name, JSON.stringify(payload)), 10 * 60_000);
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
