// A key board on Redis, with the key that authenticates what stands there.
import type { BackendName } from "@claviger/proto/names.ts";
import type { OpenBackend } from "../backend/port.ts";
import type { Log } from "@claviger/proto/log.ts";
import { openRedis, type RedisConfig } from "../redis/client.ts";
import { createKeyBoard, type KeyBoard } from "./board.ts";
import { deriveIntegrityKey } from "./integrity.ts";

export type OpenBoard = KeyBoard & { readonly health: () => string; close(): void };

/** @param backends has the one that `integrity` names: the configuration was checked */
export const openBoard = (config: RedisConfig, backends: ReadonlyMap<BackendName, OpenBackend>, log: Log): OpenBoard => {
  const { backend: name, version, namespace, mount, key } = config.integrity;
  const backend = backends.get(name);
  if (backend === undefined) throw new TypeError("the configuration let a backend pass that does not exist");
  const secret = deriveIntegrityKey(backend, { backend: name, mount, key, ...(namespace !== undefined && { namespace }) }, version, log);
  const redis = openRedis(config, log);
  return {
    ...createKeyBoard({ redis, secret: secret.get }),
    health: redis.health,
    close() {
      secret.close();
      redis.close();
    },
  };
};
