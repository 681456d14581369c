// The shared key cache and the key_id observations on Redis, with the key that authenticates both.
import type { Log } from "@claviger/proto/runtime/log.ts";
import { onRegistryChange, publishRegistryChange } from "@claviger/gateway-core/src/redis/channels.ts";
import { type RedisConfig } from "@claviger/gateway-core/src/redis/config.ts";
import { openRedis } from "@claviger/gateway-core/src/redis/client.ts";
import { createSharedKeyCache, type SharedKeyCache } from "./shared-key-cache.ts";
import { createObservations, type Observations } from "@claviger/gateway-core/src/redis/observations.ts";

export type OpenSharedCache = SharedKeyCache & {
  readonly observations: Observations;
  onRegistryChange(listener: () => void): void;
  /** Tells the others. A hint: never rejects. */
  readonly notifyRegistryChange: () => void;
  readonly health: () => string;
  close(): void;
};

/** @param secret the integrity key; undefined while it is not known */
export function openSharedCache(config: RedisConfig, secret: () => Uint8Array | undefined, log: Log): OpenSharedCache {
  const redis = openRedis(config, log);
  return {
    ...createSharedKeyCache({ redis, secret }),
    observations: createObservations({ redis, secret }),
    onRegistryChange: (listener) => onRegistryChange(redis, listener),
    notifyRegistryChange: () => void publishRegistryChange(redis).catch(() => {}),
    health: redis.health,
    close: () => redis.close(),
  };
}
