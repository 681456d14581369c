// The records of a registry of one document for each cluster, as a gateway holds them: read when a
// cluster first asks, and again when the index says so or after some minutes.
// (docs/architecture.md #registry.)
import { KmsError, toKmsError } from "@claviger/proto/wire/errors.ts";
import { type ClusterName, clusterName } from "@claviger/proto/wire/names.ts";
import type { DocumentRef, Documents } from "../backend/port.ts";
import { clustersAt, editedSince, type RegistryIndex } from "./documents.ts";
import { createGate } from "./gate.ts";
import type { RecordReader, ReadRecord } from "./record-reader.ts";
import type { RecordTable } from "./table.ts";

/** What is known of a cluster beside the record that is in force. */
type Entry = {
  /** When its document was read last, and when that was tried last; monotonic milliseconds. */
  readAt: number;
  triedAt: number;
  /** Why its newest document is not in force; empty while it is. */
  problems: readonly string[];
  flight: Promise<void> | undefined;
};

export interface Clusters {
  /** As RegistryStore. */
  readonly load: (name: ClusterName) => Promise<void> | undefined;
  /** As RegistryStore. */
  readonly loadAll: () => Promise<void>;
  /** @throws KmsError backend_unavailable where nothing is known of the cluster, or nothing good */
  readonly assertKnown: (name: ClusterName) => void;
  /** Reads a cluster's record in a read that begins after this call. Never rejects. */
  readonly reread: (name: ClusterName) => Promise<void>;
  /**
   * Reads what was edited since the last index, and what an earlier call could not read.
   * @returns true when all of it has been read
   */
  readonly follow: (index: RegistryIndex) => Promise<boolean>;
  /** The number of the last edit that was followed. */
  readonly sequence: () => number | undefined;
  readonly problems: () => readonly string[];
}

/** A writer that knows no index is seen after this time at the latest. */
const maxAgeMs = 5 * 60_000;
/** From this age on a record that is asked for is read in the background. */
const staleMs = 0.8 * maxAgeMs;
/** Between two reads of a record that fail or that callers ask for. */
const spacingMs = 250;
/** Between two lists because of a name that is not in the last one. */
const listSpacingMs = 10_000;
const listMs = 5000;
/** Reads of documents at the same time. */
const parallelReads = 32;
/** Of those when all are read: what was edited is read before the rest. */
const parallelReadsOfAll = 16;

export function createClusters({
  documents,
  root,
  read,
  table,
  isStoreThere,
  onProblem,
  now = () => performance.now(),
}: {
  readonly documents: Documents;
  readonly root: DocumentRef;
  readonly read: RecordReader;
  readonly table: RecordTable;
  /** Reads whether the registry is there at all: only then does a missing document mean anything. */
  readonly isStoreThere: () => Promise<boolean>;
  /** What is wrong has changed. */
  readonly onProblem: () => void;
  /** Monotonic milliseconds */
  readonly now?: () => number;
}): Clusters {
  const entries = new Map<ClusterName, Entry>();
  const gate = createGate(parallelReads);
  /** The clusters that there are: who asks under another name costs no read. */
  let names: Set<string> | undefined;
  let listedAt = Number.NEGATIVE_INFINITY;
  let listing: Promise<void> | undefined;
  let sequence: number | undefined;
  /** Named by the last index. */
  let named: ReadonlySet<string> = new Set();
  /** Every cluster is read, also those that nobody has asked for. */
  let holdsAll = false;
  let allReadAt = Number.NEGATIVE_INFINITY;
  let readingAll: Promise<void> | undefined;
  /** Edited, and not read yet. */
  const pending = new Set<ClusterName>();

  const entryOf = (name: ClusterName): Entry => {
    const known = entries.get(name);
    if (known !== undefined) return known;
    const entry = {
      readAt: Number.NEGATIVE_INFINITY,
      triedAt: Number.NEGATIVE_INFINITY,
      problems: [],
      flight: undefined,
    };
    entries.set(name, entry);
    return entry;
  };

  const take = async (name: ClusterName, found: ReadRecord): Promise<readonly string[]> => {
    switch (found.kind) {
      case "good":
        table.set(name, found.record);
        return [];
      case "bad":
        return found.problems;
      case "removed":
        table.set(name, undefined);
        return [];
      case "missing":
        // Where everything is missing nobody has removed a cluster.
        if (!(await isStoreThere())) throw new KmsError("backend_unavailable", { cause: new Error("no registry") });
        table.set(name, undefined);
        return [];
    }
  };

  const start = (name: ClusterName): Promise<void> => {
    const entry = entryOf(name);
    entry.flight = gate(async () => {
      entry.triedAt = now();
      const { problems } = entry;
      try {
        entry.problems = await take(name, await read(name, table.get(name)));
        entry.readAt = entry.triedAt;
      } catch (error) {
        // What was read last stays in force, and the next caller tries again.
        if (entry.readAt === Number.NEGATIVE_INFINITY)
          entry.problems = [`${name}: it cannot be read (${toKmsError(error).reason})`];
      } finally {
        entry.flight = undefined;
        if (problems.join() !== entry.problems.join()) onProblem();
      }
    });
    return entry.flight;
  };

  const list = (): Promise<void> => {
    listing ??= (async () => {
      listedAt = now();
      try {
        const found = await documents.listDocuments(clustersAt(root), AbortSignal.timeout(listMs));
        // The list may have begun before the last edits.
        names = new Set([...found, ...named]);
        // An answer that nothing is there is as old as the list.
        for (const [name, { flight }] of entries)
          if (flight === undefined && !names.has(name) && table.get(name) === undefined) entries.delete(name);
      } catch {
        // Those that are known are served; the next caller of another name tries again.
      } finally {
        listing = undefined;
      }
    })();
    return listing;
  };

  const isPast = (at: number, milliseconds: number): boolean => now() - at >= milliseconds;

  const loadNew = async (name: ClusterName): Promise<void> => {
    if (names === undefined) {
      if (listing !== undefined || isPast(listedAt, spacingMs)) await list();
    } else if (!names.has(name) && isPast(listedAt, listSpacingMs)) await list();
    if (names?.has(name) === true || table.get(name) !== undefined) await (entries.get(name)?.flight ?? start(name));
  };

  const readAll = async (): Promise<void> => {
    await list();
    const readAt = (name: ClusterName): number => entries.get(name)?.readAt ?? Number.NEGATIVE_INFINITY;
    const all = [...(names ?? [])].filter((name) => clusterName.is(name));
    const behind = createGate(parallelReadsOfAll);
    await Promise.all(
      all
        .filter((name) => isPast(readAt(name), staleMs))
        .map((name) => behind(() => entries.get(name)?.flight ?? start(name))),
    );
    const isUnread = names === undefined || all.some((name) => readAt(name) === Number.NEGATIVE_INFINITY);
    if (isUnread) throw new KmsError("backend_unavailable", { cause: new Error("not every record could be read yet") });
    allReadAt = now();
    holdsAll = true;
  };

  const reread = async (name: ClusterName): Promise<void> => {
    await entries.get(name)?.flight;
    await (entries.get(name)?.flight ?? start(name));
  };

  return {
    load(name) {
      const entry = entries.get(name);
      if (entry === undefined) {
        const isNone = names !== undefined && !names.has(name) && table.get(name) === undefined;
        return isNone && !isPast(listedAt, listSpacingMs) ? undefined : loadNew(name);
      }
      if (!isPast(entry.readAt, staleMs)) return undefined;
      if (entry.flight === undefined) {
        if (!isPast(entry.triedAt, spacingMs)) return undefined;
        void start(name);
      }
      return isPast(entry.readAt, maxAgeMs) ? entry.flight : undefined;
    },
    async loadAll() {
      if (holdsAll && !isPast(allReadAt, maxAgeMs)) return;
      readingAll ??= readAll().finally(() => {
        readingAll = undefined;
      });
      // What is held is at most some minutes older than what a writer without news has left.
      if (holdsAll) readingAll.catch(() => {});
      else await readingAll;
    },
    assertKnown(name) {
      if (table.get(name) !== undefined) return;
      const entry = entries.get(name);
      const why = entry === undefined ? undefined : entry.problems[0];
      if (why !== undefined) throw new KmsError("backend_unavailable", { cause: new Error(why) });
      const isUnread = entry === undefined ? names?.has(name) !== false : entry.readAt === Number.NEGATIVE_INFINITY;
      if (isUnread) throw new KmsError("backend_unavailable", { cause: new Error("its record could not be read yet") });
    },
    async reread(name) {
      const entry = entries.get(name);
      if (entry !== undefined && (entry.flight !== undefined || isPast(entry.triedAt, spacingMs))) await reread(name);
    },
    async follow(index) {
      const edited = sequence === undefined ? undefined : editedSince(index, sequence);
      named = new Set(index.changed.map((line) => line.split(" ")[1] ?? ""));
      for (const name of named) names?.add(name);
      // Without `edited`: the first index, or more edits than it names, or a store that was restored.
      if (edited === undefined && sequence !== undefined) {
        allReadAt = Number.NEGATIVE_INFINITY;
        void list();
      }
      for (const name of edited ?? entries.keys()) if (holdsAll || entries.has(name)) pending.add(name);
      ({ sequence } = index);
      const began = now();
      await Promise.all(
        [...pending].map(async (name) => {
          await reread(name);
          if ((entries.get(name)?.readAt ?? began) >= began) pending.delete(name);
        }),
      );
      return pending.size === 0;
    },
    sequence: () => sequence,
    problems: () => [...entries.values()].flatMap(({ problems }) => problems),
  };
}
