// What gateways keep on Redis, over one connection and with the key that authenticates all of it: the shared
// key cache, the key_id observations, and what is known of nodes and of the gateways themselves.
import type { Log } from "@claviger/proto/runtime/log.ts";
import { onRegistryChange, publishRegistryChange } from "@claviger/gateway-core/src/redis/channels.ts";
import { type RedisConfig } from "@claviger/gateway-core/src/redis/config.ts";
import { openRedis } from "@claviger/gateway-core/src/redis/client.ts";
import { createSharedKeyCache, type SharedKeyCache } from "./shared-key-cache.ts";
import {
  type GatewayReporter,
  type GatewayState,
  reportGateway,
} from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import { createNodeReports, type NodeReports } from "@claviger/gateway-core/src/redis/node-reports.ts";
import { type HistoryReporter, type HistoryStep, reportHistory } from "@claviger/gateway-core/src/redis/histories.ts";
import { createObservations, type Observations } from "@claviger/gateway-core/src/redis/observations.ts";

export type OpenSharedCache = SharedKeyCache & {
  readonly observations: Observations;
  readonly nodes: NodeReports;
  /** Begins to report this gateway; its entry is taken away by `close` of what is returned. */
  reportGateway(read: () => GatewayState): GatewayReporter;
  /** Begins to write what was counted in each step. */
  reportHistory(take: () => Omit<HistoryStep, "at">): HistoryReporter;
  onRegistryChange(listener: () => void): void;
  /** Tells the others. A hint: never rejects. */
  readonly notifyRegistryChange: () => void;
  readonly health: () => string;
  close(): void;
};

/**
 * @param secret the integrity key; undefined while it is not known
 * @param gateway the name of this gateway; not asked before the first Status
 */
export function openSharedCache({
  config,
  secret,
  gateway,
  onMalformedReport,
  log,
}: {
  readonly config: RedisConfig;
  readonly secret: () => Uint8Array | undefined;
  readonly gateway: () => string;
  readonly onMalformedReport: () => void;
  readonly log: Log;
}): OpenSharedCache {
  const redis = openRedis(config, log);
  const nodes = createNodeReports({ redis, secret, gateway, onMalformed: onMalformedReport });
  return {
    ...createSharedKeyCache({ redis, secret }),
    observations: createObservations({ redis, secret }),
    nodes,
    reportGateway: (read) => reportGateway({ redis, secret, name: gateway(), read }),
    reportHistory: (take) => reportHistory({ redis, secret, name: gateway(), take }),
    onRegistryChange: (listener) => onRegistryChange(redis, listener),
    notifyRegistryChange: () => void publishRegistryChange(redis).catch(() => {}),
    health: redis.health,
    close() {
      nodes.close();
      redis.close();
    },
  };
}
