// The histories, and who adds to them, where there is a Redis. (docs/architecture.md #histories.)
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { RedisStore } from "@claviger/gateway-core/src/redis/client.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { Sightings } from "../sightings.ts";
import { createHistories, type Histories, noHistories } from "./histories.ts";
import { createHour } from "./hour.ts";
import { createKeeper } from "./keeper.ts";

/**
 * @param shared undefined where fleet.yaml names no Redis
 * @param records every record of the registry
 */
export function openHistories({
  shared,
  sightings,
  records,
  log,
}: {
  readonly shared: { readonly redis: RedisStore; readonly secret: () => Uint8Array | undefined } | undefined;
  readonly sightings: Sightings;
  readonly records: () => Promise<readonly ClusterRecord[]>;
  readonly log: Log;
}): { readonly histories: Histories; close(): void } {
  if (shared === undefined) return { histories: noHistories, close: () => {} };
  const hour = createHour(shared);
  const keeper = createKeeper({ ...shared, hour, sightings, records, log });
  return {
    histories: createHistories({ source: { ...shared, hour } }),
    close() {
      keeper.close();
      hour.close();
    },
  };
}
