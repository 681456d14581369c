// Where gateways and commands tell each other that there is something to read: of the registry, or of a
// key. Hints: those who miss one read it a little later. (docs/architecture.md #keys.)
import type { Log } from "@claviger/proto/runtime/log.ts";
import { type RedisConfig } from "./config.ts";
import { openRedis, type RedisStore } from "./client.ts";

const channels = { registry: "registry", keys: "news" } as const;
const announceMs = 2000;

/** Tells the gateways that there is something to read. */
export function publishRegistryChange(redis: RedisStore): Promise<void> {
  return redis.publish(channels.registry, "changed");
}

/** Calls back for every announcement, also after a reconnection. */
export function onRegistryChange(redis: RedisStore, listener: () => void): void {
  return redis.subscribe(channels.registry, listener);
}

/** Tells the gateways that there is something to read about a key. @param key by its refId */
export function publishKeyNews(redis: RedisStore, key: string): Promise<void> {
  return redis.publish(channels.keys, key);
}

/** Calls back with the refId of each key that there are news of, also after a reconnection. */
export function onKeyNews(redis: RedisStore, listener: (key: string) => void): void {
  return redis.subscribe(channels.keys, listener);
}

/** As a command does, which has no connection. Never rejects: whoever runs it may not reach Redis. */
async function announce(config: RedisConfig, log: Log, publish: (redis: RedisStore) => Promise<void>): Promise<void> {
  let redis: RedisStore | undefined;
  try {
    redis = openRedis(config, log);
    await redis.connected(AbortSignal.timeout(announceMs));
    await publish(redis);
  } catch {
    // They read it by themselves.
  } finally {
    redis?.close();
  }
}

/** Says that the registry has changed. Never rejects. */
export function announceRegistry(config: RedisConfig, log: Log): Promise<void> {
  return announce(config, log, publishRegistryChange);
}

/** Says that a key has changed. Never rejects. @param key by its refId */
export function announceKey(config: RedisConfig, key: string, log: Log): Promise<void> {
  return announce(config, log, (redis) => publishKeyNews(redis, key));
}
