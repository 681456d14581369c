// The key ring: for each cluster its promoted keys, its key_id and its epoch. Answers from memory;
// key pollers keep it fresh. (docs/architecture.md #keys.)
import type { Epoch } from "@claviger/proto/wire/epoch.ts";
import type { BackendName, KeyId } from "@claviger/proto/wire/names.ts";
import type { KeyRef, OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import type { PromotedVersion } from "@claviger/gateway-core/src/key/promotion.ts";
import { deriveKeyId, type PromotedKey, refId } from "@claviger/gateway-core/src/key/key-id.ts";
import type { KeyFailure } from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { createBuckets } from "@claviger/proto/runtime/buckets.ts";
import type { SharedKeyCache } from "./shared-key-cache.ts";
import type { CanaryCiphertexts } from "./canary-ciphertexts.ts";
import { createKeyPoller, type KeyPoller, type KeyView } from "./key-poller.ts";

/** The promoted version of each key, and what is derived from them. */
type Promotion = { readonly keyId: KeyId; readonly epoch: Epoch; readonly keys: readonly PromotedKey[] };

/** What a cluster encrypts with now. */
export type KeyRingEntry = Promotion & {
  /** Unix milliseconds since when some backend has given no fresh word. */
  readonly staleSince?: number;
  /** A promoted version is gone from its backend: nothing may be encrypted. */
  readonly isLost: boolean;
  /** An operation that the promoted version fails. */
  readonly failing?: "encrypt" | "decrypt";
};

/** `latest` is above `promoted.version` where a newer version is not promoted. */
export type KnownKey = {
  readonly ref: KeyRef;
  readonly promoted: PromotedVersion;
  readonly latest: number | undefined;
};

export interface KeyRing {
  /**
   * Answers from memory; waits for the backend only at the first use of a key.
   * @throws KmsError why the cluster cannot be served
   */
  promoted(cluster: ClusterRecord): Promise<KeyRingEntry>;
  /** The epoch, where the keys are known already; asks nobody. */
  epoch(cluster: ClusterRecord): Epoch | undefined;
  /**
   * Asks the backend again (single flight), then answers.
   * @param proven an epoch of the cluster, under its generation of now, that some gateway has shown
   * @throws KmsError as promoted
   */
  refreshed(cluster: ClusterRecord, proven?: Epoch): Promise<KeyRingEntry>;
  /** The keys in use, with what encrypts. */
  known(): readonly KnownKey[];
  /** How often each key is read, milliseconds: the more keys are in use, the rarer. */
  intervalMs(): number;
  /** How many earlier key versions failed when they were last tried, of all keys. */
  broken(): number;
  /** How many keys' newest version is not promoted because that failed. */
  unpromoted(): number;
  /** How many retired versions decrypt again, of all keys. */
  reopened(): number;
  /** The versions that did not work when they were last tried, of all keys. */
  failures(): readonly KeyFailure[];
  close(): void;
}

function epochOf(cluster: ClusterRecord, keys: readonly Pick<PromotedKey, "version" | "createdAt">[]): Epoch {
  return [
    cluster.generation,
    Math.max(...keys.map(({ createdAt }) => createdAt)),
    keys.reduce((sum, { version }) => sum + version, 0),
  ];
}

/** Requests in a second for all keys together, reads and canaries; beyond that each is looked at less often. */
const requestsPerSecond = 50;
/** For so long a count of the keys in use is good enough. */
const countMs = 1000;

/** Looks at keys because another replica says that there is something to see. */
const newsPerSecond = 50;

export function createKeyRing({
  backends,
  using,
  sharedCache,
  canaryCiphertexts,
  refreshMs,
  canaryMs,
  log,
  now = steadyNow,
}: {
  readonly backends: ReadonlyMap<BackendName, OpenBackend>;
  /**
   * The records that encrypt with a key, of the clusters that are served: does one of them rotate by
   * itself? A key that none of them uses is left alone.
   */
  readonly using: (key: KeyRef) => readonly ClusterRecord[];
  readonly sharedCache: SharedKeyCache;
  readonly canaryCiphertexts?: CanaryCiphertexts;
  readonly refreshMs: number;
  readonly canaryMs: number;
  readonly log: Log;
  readonly now?: () => number;
}): KeyRing {
  const pollers = new Map<string, KeyPoller>();
  const refs = new Map<string, KeyRef>();
  let countedAt = Number.NEGATIVE_INFINITY;
  let factor = 1;
  // Replicas that serve the same keys share the reads, by a claim for each.
  const slowdown = (): number => {
    const time = now();
    if (time - countedAt < countMs) return factor;
    countedAt = time;
    let inUse = 0;
    for (const poller of pollers.values()) if (!poller.isUnasked(time)) inUse += 1;
    // A canary, of two requests, comes less often by the same factor.
    const perInterval = 1 + (2 * refreshMs) / canaryMs;
    factor = Math.max(1, (inUse * perInterval) / (requestsPerSecond * (refreshMs / 1000)));
    return factor;
  };
  const pollerOf = (ref: KeyRef): KeyPoller => {
    const id = refId(ref);
    let poller = pollers.get(id);
    if (poller === undefined) {
      const backend = backends.get(ref.backend);
      if (backend === undefined) throw new TypeError("the registry let a backend pass that is not configured");
      const isAuto = (): boolean => using(ref).some(({ rotation }) => rotation === "auto");
      const generation = (): number => Math.max(0, ...using(ref).map((cluster) => cluster.generation));
      poller = createKeyPoller({
        backend,
        ref,
        isUsed: () => using(ref).length > 0,
        isAuto,
        generation,
        sharedCache,
        ...(canaryCiphertexts && { canaryCiphertexts }),
        refreshMs,
        canaryMs,
        slowdown,
        log,
        now,
      });
      pollers.set(id, poller);
      refs.set(id, ref);
    }
    return poller;
  };

  // What stays the same between two changes of a key is made once, and not for each call.
  const promotions = new WeakMap<ClusterRecord, Promotion>();
  const promotionOf = (cluster: ClusterRecord, views: readonly KeyView[]): Promotion => {
    const known = promotions.get(cluster);
    const isSame = ({ version, createdAt }: PromotedKey, i: number): boolean =>
      views[i]?.promoted.version === version && views[i].promoted.createdAt === createdAt;
    if (known?.keys.length === views.length && known.keys.every(isSame)) return known;
    const keys = cluster.keys.flatMap((ref, i) => {
      const view = views[i];
      return view === undefined ? [] : [{ ref, ...view.promoted }];
    });
    const made = { keys, keyId: deriveKeyId(cluster.uid, keys), epoch: epochOf(cluster, keys) };
    promotions.set(cluster, made);
    return made;
  };

  const combine = (cluster: ClusterRecord, views: readonly KeyView[]): KeyRingEntry => {
    const stale = views.flatMap(({ staleSince }) => (staleSince === undefined ? [] : [staleSince]));
    const failing = views.find((view) => view.failing !== undefined)?.failing;
    return {
      ...promotionOf(cluster, views),
      ...(stale.length > 0 && { staleSince: Math.min(...stale) }),
      isLost: views.some((view) => view.isLost === true),
      ...(failing !== undefined && { failing }),
    };
  };

  const promoted = async (cluster: ClusterRecord): Promise<KeyRingEntry> =>
    combine(cluster, await Promise.all(cluster.keys.map((ref) => pollerOf(ref).view())));

  // Whoever can write to Redis can say so without end, of every key. Beyond this the interval has to do.
  const news = createBuckets(now);
  sharedCache.onInvalidate((id) => {
    const poller = pollers.get(id);
    if (poller === undefined) return;
    const bucket = news.of("news", { perSecond: newsPerSecond, full: newsPerSecond });
    if (bucket.tokens < 1) return;
    bucket.tokens -= 1;
    void poller.refresh(false);
  });

  return {
    promoted,
    epoch(cluster) {
      const known = cluster.keys.map((ref) => pollers.get(refId(ref))?.known());
      const keys = known.filter((key) => key !== undefined);
      return keys.length === known.length ? epochOf(cluster, keys) : undefined;
    },
    async refreshed(cluster, proven) {
      const [only, ...others] = cluster.keys;
      // With several keys an epoch does not tell their versions apart.
      if (proven !== undefined && only !== undefined && others.length === 0)
        pollerOf(only).believe({ version: proven[2], createdAt: proven[1] });
      await Promise.all(cluster.keys.map((ref) => pollerOf(ref).refresh(true)));
      return await promoted(cluster);
    },
    reopened: () => [...pollers.values()].reduce((sum, poller) => sum + poller.reopened(), 0),
    unpromoted: () => [...pollers.values()].filter((poller) => poller.isUnpromoted()).length,
    failures: () => [...pollers].flatMap(([key, poller]) => poller.failures().map((one) => ({ key, ...one }))),
    intervalMs: () => refreshMs * slowdown(),
    known: () =>
      [...pollers].flatMap(([id, poller]) => {
        const [ref, promoted] = [refs.get(id), poller.known()];
        const isShown = ref !== undefined && promoted !== undefined && using(ref).length > 0;
        return isShown ? [{ ref, promoted, latest: poller.latest() }] : [];
      }),
    broken: () => [...pollers.values()].reduce((sum, poller) => sum + poller.broken(), 0),
    close() {
      for (const poller of pollers.values()) poller.close();
    },
  };
}
