// The shared key cache and the key_id observations on Redis, with the key that authenticates both.
import type { BackendName } from "@claviger/proto/wire/names.ts";
import type { OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { onRegistryChange, publishRegistryChange } from "@claviger/gateway-core/src/redis/registry-channel.ts";
import { openRedis, type RedisConfig } from "@claviger/gateway-core/src/redis/client.ts";
import { createSharedKeyCache, type SharedKeyCache } from "./shared-key-cache.ts";
import { deriveIntegrityKey, integrityRef } from "@claviger/gateway-core/src/redis/integrity.ts";
import { createObservations, type Observations } from "@claviger/gateway-core/src/redis/observations.ts";

export type OpenSharedCache = SharedKeyCache & {
  readonly observations: Observations;
  onRegistryChange(listener: () => void): void;
  /** Tells the others. A hint: never rejects. */
  readonly notifyRegistryChange: () => void;
  readonly health: () => string;
  close(): void;
};

/** @param backends has the one that `integrity` names: the configuration was checked */
export function openSharedCache(
  config: RedisConfig,
  backends: ReadonlyMap<BackendName, OpenBackend>,
  log: Log,
): OpenSharedCache {
  const backend = backends.get(config.integrity.backend);
  if (backend === undefined) throw new TypeError("the configuration let a backend pass that does not exist");
  const secret = deriveIntegrityKey(backend, integrityRef(config), config.integrity.version, log);
  const redis = openRedis(config, log);
  return {
    ...createSharedKeyCache({ redis, secret: secret.get }),
    observations: createObservations({ redis, secret: secret.get }),
    onRegistryChange: (listener) => onRegistryChange(redis, listener),
    notifyRegistryChange: () => void publishRegistryChange(redis).catch(() => {}),
    health: redis.health,
    close() {
      secret.close();
      redis.close();
    },
  };
}
