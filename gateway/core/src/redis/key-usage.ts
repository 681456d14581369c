// What was counted in a cluster's etcds, as the fleet service was told last: a value for each cluster. Kept in
// Redis, so it may be lost; it is for people, and decides nothing. (docs/architecture.md #fleet-view.)
import type { ClusterUid, KeyId } from "@claviger/proto/wire/names.ts";
import type { RedisStore } from "./client.ts";
import { signValue, verifyValue } from "./signed-value.ts";

export type KeyUsage = {
  /** Unix milliseconds: when the count began. */
  readonly countedAt: number;
  /** The operator. */
  readonly countedBy: string;
  /** Some of it was counted in a snapshot. */
  readonly isFromSnapshot: boolean;
  readonly uses: readonly {
    readonly clusterUid: ClusterUid;
    readonly backend: string;
    /** See keyPath. */
    readonly key: string;
    readonly version: number;
    readonly keyId: KeyId;
    readonly count: number;
  }[];
  /** Objects of other KMS plugins. */
  readonly foreign: number;
  /** Values that look encrypted and cannot be read. */
  readonly damaged: number;
};

const keepMs = 400 * 24 * 3600_000;

function nameOf(cluster: ClusterUid): string {
  return `usage:${cluster}`;
}

/** Replaces what was counted before. @throws Error when Redis does not answer */
export async function writeKeyUsage(
  redis: Pick<RedisStore, "set">,
  secret: Uint8Array,
  cluster: ClusterUid,
  usage: KeyUsage,
): Promise<void> {
  const name = nameOf(cluster);
  await redis.set(name, signValue(secret, name, JSON.stringify(usage)), keepMs);
}

/** Undefined where nothing was counted, or somebody else wrote it. @throws Error when Redis does not answer */
export async function readKeyUsage(
  redis: Pick<RedisStore, "get">,
  secret: Uint8Array,
  cluster: ClusterUid,
): Promise<KeyUsage | undefined> {
  const value = await redis.get(nameOf(cluster));
  const text = value === null ? undefined : verifyValue(secret, nameOf(cluster), value);
  return text === undefined ? undefined : (JSON.parse(text) as KeyUsage);
}
