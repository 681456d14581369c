// A queue of several groups that are served in turn, bounded for each group. It knows neither time
// nor what the entries are.

export type Queued = {
  readonly group: string;
  /** What the entry counts for in the bounds. */
  readonly bytes: number;
};

export interface FairQueue<E extends Queued> {
  /** Entries of all groups. */
  readonly size: number;
  /** False, and nothing is added, when the group has as many entries or bytes as it may have. */
  add(entry: E): boolean;
  /** Adds an entry that was in the queue before, whatever the bounds say. */
  putBack(entry: E): void;
  /**
   * Removes the first entry of the group whose turn it is; the group goes to the end of the order.
   * Undefined, and nothing is removed, when the entry has more bytes than that.
   */
  take(room: number): E | undefined;
  /** Makes room at once; does nothing when the entry is not there. */
  remove(entry: E): void;
}

/** Bounds of each group. */
export type QueueBounds = { readonly maxItems: number; readonly maxBytes: number };

export function createFairQueue<E extends Queued>({ maxItems, maxBytes }: QueueBounds): FairQueue<E> {
  type Group = { readonly entries: Set<E>; bytes: number };
  const groups = new Map<string, Group>();
  let size = 0;

  const insert = (entry: E, isBounded: boolean): boolean => {
    const group = groups.get(entry.group) ?? { entries: new Set<E>(), bytes: 0 };
    if (isBounded && (group.entries.size >= maxItems || group.bytes + entry.bytes > maxBytes)) return false;
    groups.set(entry.group, group);
    group.entries.add(entry);
    group.bytes += entry.bytes;
    size += 1;
    return true;
  };
  const remove = (entry: E): void => {
    const group = groups.get(entry.group);
    if (group?.entries.delete(entry) !== true) return;
    group.bytes -= entry.bytes;
    size -= 1;
    if (group.entries.size === 0) groups.delete(entry.group);
  };

  return {
    get size() {
      return size;
    },
    add: (entry) => insert(entry, true),
    putBack: (entry) => void insert(entry, false),
    take(room) {
      for (const group of groups.values())
        for (const entry of group.entries) {
          if (entry.bytes > room) return undefined;
          group.entries.delete(entry);
          group.bytes -= entry.bytes;
          size -= 1;
          groups.delete(entry.group);
          if (group.entries.size > 0) groups.set(entry.group, group);
          return entry;
        }
      return undefined;
    },
    remove,
  };
}
