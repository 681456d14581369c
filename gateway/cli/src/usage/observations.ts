// The key_id observations of some clusters in Redis, read with the operator's own right to derive
// the key that authenticates them. (docs/architecture.md #keys and #rotation.)
import { integrityKey } from "@claviger/gateway-core/src/key/integrity.ts";
import { type Observation, readObservations } from "@claviger/gateway-core/src/redis/observations.ts";
import { openRedis, redisAddresses, type RedisStore } from "@claviger/gateway-core/src/redis/client.ts";
import type { RedisConfig } from "@claviger/gateway-core/src/redis/config.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { CliError } from "../commander.ts";
import type { Fleet } from "../fleet.ts";
import { silentLog } from "@claviger/proto/runtime/log.ts";

const callMs = 10_000;
/** A Redis that does not let one in is tried for so long. */
const connectMs = 3000;

function openOrExplain(config: RedisConfig, blind: (why: string) => CliError): RedisStore {
  try {
    return openRedis(config, silentLog);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw blind(error.problems.join("; "));
  }
}

/**
 * The observations of some clusters; undefined where there is no Redis.
 * @throws CliError or KmsError when it cannot be asked
 */
export async function readClusterObservations(
  fleet: Fleet,
  records: readonly ClusterRecord[],
): Promise<ReadonlyMap<string, readonly Observation[]> | undefined> {
  const { redis: config, integrity } = fleet.config;
  if (config === undefined || integrity === undefined) return undefined;
  const secret = await fleet.withBackend(integrity.backend, (backend) =>
    integrityKey(backend, integrity, AbortSignal.timeout(callMs)),
  );
  const blind = (why: string): CliError =>
    new CliError(
      `Redis at ${redisAddresses(config)} cannot be asked which key_ids the nodes show (${why}); see for yourself that every node shows the new one, and say --nodes-checked`,
    );
  const redis = openOrExplain(config, blind);
  try {
    await redis.connected(AbortSignal.timeout(connectMs));
    return new Map(
      await Promise.all(
        records.map(async ({ name: cluster, uid }) => [cluster, await readObservations(redis, secret, uid)] as const),
      ),
    );
  } catch {
    throw blind(redis.health());
  } finally {
    redis.close();
  }
}
