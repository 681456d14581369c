// A key board and a ledger on Redis, with the key that authenticates what stands there.
import type { BackendName } from "@claviger/proto/names.ts";
import type { KeyRef, OpenBackend } from "../backend/port.ts";
import type { Log } from "@claviger/proto/log.ts";
import { openRedis, type RedisConfig, type RedisStore } from "../redis/client.ts";
import { createKeyBoard, type KeyBoard } from "./board.ts";
import { deriveIntegrityKey } from "./integrity.ts";
import { createLedger, type Ledger } from "./ledger.ts";

/** Where whoever edits the registry says so. A hint: those who miss it read it a little later. */
const registryChannel = "registry";

const announceMs = 2000;

const tell = (redis: RedisStore): Promise<void> => redis.publish(registryChannel, "changed");

/** Says that the registry has changed. Never rejects: it is a hint. */
export const announceRegistry = async (config: RedisConfig, log: Log): Promise<void> => {
  const redis = openRedis(config, log);
  try {
    await redis.connected(AbortSignal.timeout(announceMs));
    await tell(redis);
  } catch {
    // They read it by themselves.
  } finally {
    redis.close();
  }
};

export type OpenBoard = KeyBoard & {
  readonly ledger: Ledger;
  onRegistryNews(listener: () => void): void;
  /** Tells the others. A hint: never rejects. */
  readonly tellRegistryNews: () => void;
  readonly health: () => string;
  close(): void;
};

/** The key that what stands in Redis is authenticated under. */
export const integrityRef = ({ integrity: { backend, namespace, mount, key } }: RedisConfig): KeyRef => ({
  backend,
  mount,
  key,
  ...(namespace !== undefined && { namespace }),
});

/** @param backends has the one that `integrity` names: the configuration was checked */
export const openBoard = (config: RedisConfig, backends: ReadonlyMap<BackendName, OpenBackend>, log: Log): OpenBoard => {
  const backend = backends.get(config.integrity.backend);
  if (backend === undefined) throw new TypeError("the configuration let a backend pass that does not exist");
  const secret = deriveIntegrityKey(backend, integrityRef(config), config.integrity.version, log);
  const redis = openRedis(config, log);
  return {
    ...createKeyBoard({ redis, secret: secret.get }),
    ledger: createLedger({ redis, secret: secret.get }),
    onRegistryNews: (listener) => redis.subscribe(registryChannel, listener),
    tellRegistryNews: () => void tell(redis).catch(() => {}),
    health: redis.health,
    close() {
      secret.close();
      redis.close();
    },
  };
};
