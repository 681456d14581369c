// The key ring: for each cluster its promoted keys, its key_id and its epoch. Answers from memory; trackers keep it fresh. (Design section 6.)
import type { Epoch } from "@claviger/proto/epoch.ts";
import type { BackendName, KeyId } from "@claviger/proto/names.ts";
import type { KeyRef, OpenBackend } from "../backend/port.ts";
import { deriveKeyId, type PromotedKey, refId } from "../keyid.ts";
import type { Log } from "@claviger/proto/log.ts";
import type { ClusterRecord } from "../registry/record.ts";
import type { KeyBoard } from "./board.ts";
import type { Keepsakes } from "./keepsakes.ts";
import { createKeyTracker, type KeyTracker, type KeyView } from "./tracker.ts";

/** What a cluster encrypts with now. */
export type Promoted = {
  readonly keyId: KeyId;
  readonly epoch: Epoch;
  readonly keys: readonly PromotedKey[];
  /** Unix milliseconds since when some backend has given no fresh word. */
  readonly staleSince?: number;
  /** A promoted version is gone from its backend: nothing may be encrypted. */
  readonly isLost: boolean;
  /** An operation that the promoted version fails. */
  readonly failing?: "encrypt" | "decrypt";
};

export interface KeyRing {
  /** Answers from memory; waits for the backend only at the first use of a key. @throws KmsError why the cluster cannot be served */
  promoted(cluster: ClusterRecord): Promise<Promoted>;
  /** The epoch, where the keys are known already; asks nobody. */
  epoch(cluster: ClusterRecord): Epoch | undefined;
  /** Asks the backend again (single flight), then answers. @throws KmsError as promoted */
  refreshed(cluster: ClusterRecord): Promise<Promoted>;
  /** How many earlier key versions failed when they were last tried, of all keys. */
  broken(): number;
  close(): void;
}

const epochOf = (cluster: ClusterRecord, keys: readonly Pick<PromotedKey, "version" | "createdAt">[]): Epoch => [
  cluster.generation,
  Math.max(...keys.map(({ createdAt }) => createdAt)),
  keys.reduce((sum, { version }) => sum + version, 0),
];

export const createKeyRing = ({
  backends,
  clusters,
  board,
  keepsakes,
  refreshMs,
  canaryMs,
  log,
  now = Date.now,
}: {
  readonly backends: ReadonlyMap<BackendName, OpenBackend>;
  /** The registry's records now: who shares a key, and does one of them rotate by itself? */
  readonly clusters: () => readonly ClusterRecord[];
  readonly board: KeyBoard;
  readonly keepsakes?: Keepsakes;
  readonly refreshMs: number;
  readonly canaryMs: number;
  readonly log: Log;
  readonly now?: () => number;
}): KeyRing => {
  const trackers = new Map<string, KeyTracker>();
  const trackerOf = (ref: KeyRef): KeyTracker => {
    const id = refId(ref);
    let tracker = trackers.get(id);
    if (tracker === undefined) {
      const backend = backends.get(ref.backend);
      if (backend === undefined) throw new TypeError("the registry let a backend pass that is not configured");
      const isAuto = (): boolean => clusters().some(({ rotation, keys }) => rotation === "auto" && keys.some((key) => refId(key) === id));
      tracker = createKeyTracker({ backend, ref, isAuto, board, ...(keepsakes && { keepsakes }), refreshMs, canaryMs, log, now });
      trackers.set(id, tracker);
    }
    return tracker;
  };

  const combine = (cluster: ClusterRecord, views: readonly KeyView[]): Promoted => {
    const keys = cluster.keys.flatMap((ref, i) => {
      const view = views[i];
      return view === undefined ? [] : [{ ref, ...view.promoted }];
    });
    const stale = views.flatMap(({ staleSince }) => (staleSince === undefined ? [] : [staleSince]));
    const failing = views.find((view) => view.failing !== undefined)?.failing;
    return {
      keyId: deriveKeyId(cluster.uid, keys),
      epoch: epochOf(cluster, keys),
      keys,
      ...(stale.length > 0 && { staleSince: Math.min(...stale) }),
      isLost: views.some((view) => view.isLost === true),
      ...(failing !== undefined && { failing }),
    };
  };

  const promoted = async (cluster: ClusterRecord): Promise<Promoted> =>
    combine(cluster, await Promise.all(cluster.keys.map((ref) => trackerOf(ref).view())));

  board.onNews((id) => void trackers.get(id)?.refresh(false));

  return {
    promoted,
    epoch(cluster) {
      const known = cluster.keys.map((ref) => trackers.get(refId(ref))?.known());
      const keys = known.filter((key) => key !== undefined);
      return keys.length === known.length ? epochOf(cluster, keys) : undefined;
    },
    async refreshed(cluster) {
      await Promise.all(cluster.keys.map((ref) => trackerOf(ref).refresh(true)));
      return await promoted(cluster);
    },
    broken: () => [...trackers.values()].reduce((sum, tracker) => sum + tracker.broken(), 0),
    close() {
      for (const tracker of trackers.values()) tracker.close();
    },
  };
};
