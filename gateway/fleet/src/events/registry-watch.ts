// Tells of every change of the registry: of those that this replica makes at once, with who made them, and of all
// others by looking.
import { setTimeout as pause } from "node:timers/promises";
import type { ClusterName } from "@claviger/proto/wire/names.ts";
import { type ClusterRecord, recordDigest } from "@claviger/gateway-core/src/registry/record.ts";
import { type By, eventsOfEdit } from "./event.ts";
import type { EventHub } from "./hub.ts";

/** How late a change is told that somebody else made. Milliseconds. */
const usualLookMs = 2000;
/** So long after an edit of this replica what is read may be from before it: the registry is followed, not asked. */
const catchUpMs = 5000;
/** How long it goes on looking when nobody follows any more: who comes back goes on where they were. */
const idleMs = 60_000;

export interface RegistryWatch {
  /** Looks while somebody follows. The first one waits until the registry was read. @returns what ends it */
  follow(): Promise<() => void>;
  /** This replica is about to edit a record: what looks show of it meanwhile is nobody else's. @returns ends that */
  begins(name: string): () => void;
  /** Takes note of an edit of this replica. @param after undefined: it was removed */
  edited(name: ClusterName, after: ClusterRecord | undefined, by: By | undefined): void;
  /** A record as it was seen last; undefined also while nobody follows. */
  seen(name: string): ClusterRecord | undefined;
  /** Does somebody follow, or did a moment ago? */
  isFollowed(): boolean;
  close(): void;
}

type Records = ReadonlyMap<ClusterName, ClusterRecord>;
/** An edit of this replica that looks have not shown yet. `after` is undefined for a removal. */
type Edit = { readonly after: ClusterRecord | undefined; readonly until: number };

function isSame(a: ClusterRecord | undefined, b: ClusterRecord | undefined): boolean {
  if (a === b) return true;
  return a !== undefined && b !== undefined && recordDigest(a).equals(recordDigest(b));
}

/**
 * @param read all records; a rejection is what it is to lists: the next look finds what this one missed
 */
export function createRegistryWatch({
  read,
  hub,
  lookMs = usualLookMs,
  now = Date.now,
}: {
  readonly read: () => Promise<readonly ClusterRecord[]>;
  readonly hub: EventHub;
  readonly lookMs?: number;
  readonly now?: () => number;
}): RegistryWatch {
  let known: Map<ClusterName, ClusterRecord> | undefined;
  const edits = new Map<ClusterName, Edit>();
  /** Edits that are under way. */
  const editing = new Map<string, number>();
  let followers = 0;
  let idle: NodeJS.Timeout | undefined;
  let first: Promise<void> | undefined;
  /** Ends what is under way when nobody follows any more. */
  let round = new AbortController();
  let isLooping = false;

  const take = (name: ClusterName, after: ClusterRecord | undefined, by: By | undefined): void => {
    const before = known?.get(name);
    if (known === undefined || isSame(before, after)) return;
    if (after === undefined) known.delete(name);
    else known.set(name, after);
    for (const event of eventsOfEdit(now(), before, after, by)) hub.publish(event);
  };
  /** Is what was read of a cluster from before the edit that was made here? */
  const isBehind = (name: ClusterName, found: ClusterRecord | undefined): boolean => {
    // Found by the next look, where it is not what this edit makes of it.
    if (editing.has(name)) return true;
    const edit = edits.get(name);
    if (edit === undefined) return false;
    const { after, until } = edit;
    const isLater = found !== undefined && after !== undefined && found.generation > after.generation;
    if (!isLater && !isSame(found, after) && now() < until) return true;
    edits.delete(name);
    return false;
  };
  const compare = (found: Records): void => {
    for (const [name, record] of found) if (!isBehind(name, record)) take(name, record, undefined);
    for (const name of known?.keys() ?? [])
      if (!found.has(name) && !isBehind(name, undefined)) take(name, undefined, undefined);
  };
  const look = async (signal: AbortSignal): Promise<void> => {
    const found = new Map((await read()).map((record) => [record.name, record]));
    if (signal.aborted) return;
    if (known === undefined) known = found;
    else compare(found);
  };
  const loop = async (signal: AbortSignal): Promise<void> => {
    isLooping = true;
    while (!signal.aborted) {
      await pause(lookMs, undefined, { signal, ref: false }).catch(() => undefined);
      // What cannot be read now is found by a later look.
      if (!signal.aborted) await look(signal).catch(() => undefined);
    }
  };
  const stop = (): void => {
    round.abort();
    round = new AbortController();
    isLooping = false;
    known = undefined;
    edits.clear();
    hub.forget();
  };
  return {
    async follow() {
      clearTimeout(idle);
      const { signal } = round;
      followers += 1;
      try {
        if (known === undefined)
          await (first ??= look(signal).finally(() => {
            first = undefined;
          }));
      } catch (error) {
        followers -= 1;
        throw error;
      }
      if (!isLooping) void loop(signal);
      let isOver = false;
      return () => {
        if (isOver) return;
        isOver = true;
        followers -= 1;
        if (followers === 0) idle = setTimeout(stop, idleMs).unref();
      };
    },
    begins(name) {
      editing.set(name, (editing.get(name) ?? 0) + 1);
      return () => {
        const others = (editing.get(name) ?? 1) - 1;
        if (others > 0) editing.set(name, others);
        else editing.delete(name);
      };
    },
    edited(name, after, by) {
      if (known !== undefined) edits.set(name, { after, until: now() + catchUpMs });
      take(name, after, by);
    },
    seen: (name) => known?.get(name as ClusterName),
    isFollowed: () => known !== undefined,
    close() {
      clearTimeout(idle);
      stop();
    },
  };
}
