// Which node was shown which key_id, and who has decrypted under which: kept in Redis, so it may be lost. It can only veto a retirement: an apiserver keeps
// the seeds that it has unwrapped, so Decrypts that are missing prove nothing. (Design section 7.)
import type { ClusterUid, KeyId, NodeName } from "@claviger/proto/names.ts";
import type { RedisStore } from "../redis/client.ts";
import { openValue, sealValue } from "./sealed.ts";

/** `shown` in a Status, or `decrypted` under. */
export type Deed = "shown" | "decrypted";

export type LedgerEntry = {
  readonly deed: Deed;
  readonly node: string;
  readonly keyId: string;
  /** Unix milliseconds of the first time that the gateway that wrote this knows of, and of the last. */
  readonly since: number;
  readonly at: number;
};

export interface Ledger {
  /** Notes a deed. Costs the caller nothing: it is written later, now and then, or not at all. */
  note(deed: Deed, cluster: ClusterUid, node: NodeName, keyId: KeyId): void;
}

/** A deed that goes on is written again after this long. */
const againMs = 10_000;
const keepMs = 90 * 24 * 3600_000;
/** Of what is noted in memory; beyond it the oldest is forgotten, and its `since` begins anew. */
const maxKnown = 10_000;

const nameOf = (cluster: ClusterUid): string => `ledger:${cluster}`;

/**
 * @param secret as for the key board; while it is not known nothing is written
 * @param now Unix milliseconds
 */
export const createLedger = ({
  redis,
  secret,
  now = Date.now,
}: {
  readonly redis: RedisStore;
  readonly secret: () => Uint8Array | undefined;
  readonly now?: () => number;
}): Ledger => {
  const known = new Map<string, { readonly since: number; writtenAt: number }>();
  return {
    note(deed, cluster, node, keyId) {
      const key = secret();
      if (key === undefined) return;
      const field = `${deed}/${node}/${keyId}`;
      const id = `${cluster}/${field}`;
      const entry = known.get(id) ?? { since: now(), writtenAt: Number.NEGATIVE_INFINITY };
      if (now() - entry.writtenAt < againMs) return;
      entry.writtenAt = now();
      known.delete(id);
      known.set(id, entry);
      const [oldest] = known.keys();
      if (known.size > maxKnown && oldest !== undefined) known.delete(oldest);
      const text = JSON.stringify({ deed, node, keyId, since: entry.since, at: now() } satisfies LedgerEntry);
      redis.put(nameOf(cluster), field, sealValue(key, `${nameOf(cluster)}/${field}`, text), keepMs).catch(() => {
        // Lost is lost: it can only veto. But who goes on is written again at once.
        entry.writtenAt = Number.NEGATIVE_INFINITY;
      });
    },
  };
};

/** All that is known of a cluster, of every gateway. Forged entries are left out. @throws Error when Redis does not answer */
export const readLedger = async (redis: RedisStore, secret: Uint8Array, cluster: ClusterUid): Promise<readonly LedgerEntry[]> => {
  const fields = Object.entries(await redis.all(nameOf(cluster)));
  return fields.flatMap(([field, value]) => {
    const text = openValue(secret, `${nameOf(cluster)}/${field}`, value);
    return text === undefined ? [] : [JSON.parse(text) as LedgerEntry];
  });
};

/** Where there is no Redis. */
export const noLedger: Ledger = { note: () => {} };
