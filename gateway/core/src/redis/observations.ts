// The key_id observations: which node was told which key_id, and who has decrypted under which:
// kept in Redis, so it may be lost. It can only veto a retirement: an apiserver keeps the seeds
// that it has unwrapped, so Decrypts that are missing prove nothing. (docs/architecture.md
// #rotation.)
import type { ClusterUid, KeyId, NodeName } from "@claviger/proto/wire/names.ts";
import type { RedisStore } from "./client.ts";
import { verifyValue, signValue } from "./signed-value.ts";

/** A key_id was `reported` to a node in a Status, or a node `decrypted` under it. */
export type ObservedEvent = "reported" | "decrypted";

export type Observation = {
  readonly event: ObservedEvent;
  readonly node: string;
  readonly keyId: string;
  /**
   * Unix milliseconds of the first time that any gateway knows of, and of the last.
   */
  readonly since: number;
  readonly at: number;
};

export interface Observations {
  /**
   * Records an event. Costs the caller nothing: it is written later, now and then, or not at all.
   */
  record(event: ObservedEvent, cluster: ClusterUid, node: NodeName, keyId: KeyId): void;
}

/** An event that goes on is written again after this long. */
const againMs = 10_000;
const keepMs = 90 * 24 * 3600_000;
/** Of what is kept in memory; beyond it the oldest is forgotten, and its `since` begins anew. */
const maxKnown = 10_000;

/**
 * How an observation stands in Redis. These are the words of 0.1.0, which later gateways read and
 * write too.
 */
type StoredObservation = Omit<Observation, "event"> & { readonly deed: "shown" | "decrypted" };

const storedEvents = { reported: "shown", decrypted: "decrypted" } as const satisfies Record<ObservedEvent, string>;

function toObservation({ deed, ...rest }: StoredObservation): Observation {
  return { event: deed === "shown" ? "reported" : "decrypted", ...rest };
}

function nameOf(cluster: ClusterUid): string {
  return `ledger:${cluster}`;
}

/**
 * @param secret as for the shared key cache; while it is not known nothing is written
 * @param now Unix milliseconds
 */
export function createObservations({
  redis,
  secret,
  now = Date.now,
}: {
  readonly redis: RedisStore;
  readonly secret: () => Uint8Array | undefined;
  readonly now?: () => number;
}): Observations {
  const known = new Map<string, { since: number; writtenAt: number; isAsked: boolean }>();
  return {
    record(event, cluster, node, keyId) {
      const key = secret();
      if (key === undefined) return;
      const deed = storedEvents[event];
      const field = `${deed}/${node}/${keyId}`;
      const id = `${cluster}/${field}`;
      const entry = known.get(id) ?? { since: now(), writtenAt: Number.NEGATIVE_INFINITY, isAsked: false };
      if (now() - entry.writtenAt < againMs) return;
      entry.writtenAt = now();
      known.delete(id);
      known.set(id, entry);
      const [oldest] = known.keys();
      if (known.size > maxKnown && oldest !== undefined) known.delete(oldest);
      const at = now();
      const write = async (): Promise<void> => {
        // Another gateway, or this one before it was started anew, may have seen it earlier.
        if (!entry.isAsked) {
          const all = await readObservations(redis, key, cluster);
          const same = all.find((one) => one.event === event && one.node === node && one.keyId === keyId);
          entry.since = Math.min(entry.since, same?.since ?? entry.since);
          entry.isAsked = true;
        }
        const text = JSON.stringify({ deed, node, keyId, since: entry.since, at } satisfies StoredObservation);
        await redis.put(nameOf(cluster), field, signValue(key, `${nameOf(cluster)}/${field}`, text), keepMs);
      };
      write().catch(() => {
        // Lost is lost: it can only veto. But who goes on is written again at once.
        entry.writtenAt = Number.NEGATIVE_INFINITY;
      });
    },
  };
}

/**
 * All that is known of a cluster, of every gateway. Forged entries are left out.
 * @throws Error when Redis does not answer
 */
export async function readObservations(
  redis: RedisStore,
  secret: Uint8Array,
  cluster: ClusterUid,
): Promise<readonly Observation[]> {
  const fields = Object.entries(await redis.all(nameOf(cluster)));
  return fields.flatMap(([field, value]) => {
    const text = verifyValue(secret, `${nameOf(cluster)}/${field}`, value);
    return text === undefined ? [] : [toObservation(JSON.parse(text) as StoredObservation)];
  });
}

/** Where there is no Redis. */
export const noObservations: Observations = { record: () => {} };
