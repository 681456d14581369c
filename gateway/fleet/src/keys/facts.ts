// What is known of clusters' keys beside their backends' word: what was counted in etcd, and which versions
// gateways could not use. (docs/architecture.md #fleet-view.)
import { create } from "@bufbuild/protobuf";
import {
  type ClusterKeys,
  ClusterKeysSchema,
  type KeyCount,
  KeyCountSchema,
} from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import type { ClusterUid } from "@claviger/proto/wire/names.ts";
import type { KeyRef, KeyState } from "@claviger/gateway-core/src/backend/port.ts";
import { keyPath, refId } from "@claviger/gateway-core/src/key/key-id.ts";
import type { GatewayReport } from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import type { RedisStore } from "@claviger/gateway-core/src/redis/client.ts";
import { type KeyUsage, readKeyUsage, writeKeyUsage } from "@claviger/gateway-core/src/redis/key-usage.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { isSameIncarnation } from "@claviger/gateway-core/src/retirement/usage.ts";
import { refuse } from "../refusal.ts";
import type { Sightings } from "../sightings.ts";

/** Redis, and the key that what stands in it is verified by; undefined while that is not known. */
export type SharedState = { readonly redis: RedisStore; readonly secret: () => Uint8Array | undefined };

export type KeyFacts = {
  readonly gateways: readonly GatewayReport[];
  readonly usage: ReadonlyMap<ClusterUid, KeyUsage>;
  readonly incomplete: string;
};

export interface KeyFactReader {
  /** Never rejects. */
  read(uids: readonly ClusterUid[]): Promise<KeyFacts>;
  /** @throws Refusal failed_precondition, unavailable */
  keepUsage(uid: ClusterUid, usage: KeyUsage): Promise<void>;
}

/** @param shared undefined where fleet.yaml names no Redis */
export function createKeyFacts(shared: SharedState | undefined, sightings: Pick<Sightings, "gateways">): KeyFactReader {
  const usageOf = async (uids: readonly ClusterUid[]) => {
    const secret = shared?.secret();
    if (shared === undefined || secret === undefined) return [];
    const one = async (uid: ClusterUid) => [uid, await readKeyUsage(shared.redis, secret, uid)] as const;
    return (await Promise.all(uids.map(one))).flatMap(([uid, usage]) =>
      usage === undefined ? [] : [[uid, usage] as const],
    );
  };
  return {
    async read(uids) {
      const { gateways, incomplete } = await sightings.gateways();
      // Gateways report themselves every second: a Redis that was emptied lacks none for long.
      const why = incomplete.find(({ kind }) => kind !== "young")?.text ?? "";
      try {
        return { gateways, usage: new Map(await usageOf(uids)), incomplete: why };
      } catch {
        return {
          gateways,
          usage: new Map(),
          incomplete: "what was counted in etcd cannot be read: Redis does not answer",
        };
      }
    },
    async keepUsage(uid, usage) {
      if (shared === undefined)
        throw refuse(
          "failed_precondition",
          "counts are kept in Redis, and fleet.yaml names none: give it redis and integrity",
        );
      const secret = shared.secret();
      if (secret === undefined) throw refuse("unavailable", "the integrity key is not known yet; try again");
      try {
        await writeKeyUsage(shared.redis, secret, uid, usage);
      } catch {
        throw refuse("unavailable", `Redis does not take the count (${shared.redis.health()}); try again`);
      }
    },
  };
}

/** Why a version does not work, by the gateways that say so. */
function failingAt(gateways: readonly GatewayReport[], ref: KeyRef, version: number): Record<string, string> {
  return Object.fromEntries(
    gateways.flatMap(({ name, keyFailures = [] }) =>
      keyFailures.flatMap((one) => (one.key === refId(ref) && one.version === version ? [[name, one.what]] : [])),
    ),
  ) as Record<string, string>;
}

function sumOf(uses: readonly { readonly count: number }[]): number {
  return uses.reduce((sum, { count }) => sum + count, 0);
}

/** A cluster's key with all that is known of it. @param now Unix milliseconds */
export function withFacts(
  keys: ClusterKeys,
  { uid }: ClusterRecord,
  { ref, state }: { readonly ref: KeyRef; readonly state: KeyState },
  { gateways, usage, incomplete }: KeyFacts,
  now: number,
): ClusterKeys {
  const counted = usage.get(uid);
  const own = counted?.uses.filter(({ backend, key }) => backend === ref.backend && key === keyPath(ref)) ?? [];
  const readable = own.filter((use) => isSameIncarnation(use, ref, state) === true);
  const versions = keys.versions.map((one) => ({
    ...one,
    ...(counted !== undefined && { objects: sumOf(readable.filter(({ version }) => version === one.version)) }),
    failingAt: failingAt(gateways, ref, one.version),
  }));
  const count = counted && countMessage(counted, { own: sumOf(own), readable: sumOf(readable) }, now);
  return create(ClusterKeysSchema, { ...keys, versions, incomplete, ...(count && { counted: count }) });
}

function countMessage(
  { countedAt, countedBy, isFromSnapshot, uses, foreign, damaged }: KeyUsage,
  { own, readable }: { readonly own: number; readonly readable: number },
  now: number,
): KeyCount {
  const seconds = Math.floor(countedAt / 1000);
  return create(KeyCountSchema, {
    countedAt: { seconds: BigInt(seconds), nanos: 0 },
    ageSeconds: BigInt(Math.max(0, Math.floor(now / 1000) - seconds)),
    countedBy,
    fromSnapshot: isFromSnapshot,
    otherObjects: sumOf(uses) - own + foreign,
    unreadableObjects: own - readable,
    damaged,
  });
}
