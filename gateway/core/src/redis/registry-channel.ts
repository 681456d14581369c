// Where whoever edits the registry says so. A hint: those who miss it read it a little later.
// (docs/architecture.md #keys.)
import type { Log } from "@claviger/proto/runtime/log.ts";
import { type RedisConfig } from "./config.ts";
import { openRedis, type RedisStore } from "./client.ts";

const channel = "registry";
const announceMs = 2000;

/** Tells the gateways that there is something to read. */
export function publishRegistryChange(redis: RedisStore): Promise<void> {
  return redis.publish(channel, "changed");
}

/** Calls back for every announcement, also after a reconnection. */
export function onRegistryChange(redis: RedisStore, listener: () => void): void {
  return redis.subscribe(channel, listener);
}

/** Says that the registry has changed. Never rejects: it is a hint. */
export async function announceRegistry(config: RedisConfig, log: Log): Promise<void> {
  const redis = openRedis(config, log);
  try {
    await redis.connected(AbortSignal.timeout(announceMs));
    await publishRegistryChange(redis);
  } catch {
    // They read it by themselves.
  } finally {
    redis.close();
  }
}
