// The records in force, by name and by the keys that they encrypt with.
import type { ClusterName } from "@claviger/proto/wire/names.ts";
import type { KeyRef } from "../backend/port.ts";
import { refId } from "../key/key-id.ts";
import { addDigest, type ClusterRecord, digestText, recordDigest } from "./record.ts";

export interface RecordTable {
  readonly get: (name: ClusterName) => ClusterRecord | undefined;
  readonly records: ReadonlyMap<ClusterName, ClusterRecord>;
  /** Those that encrypt with the key. */
  readonly using: (key: KeyRef) => readonly ClusterRecord[];
  /** The name that a uid stands under, or stood under when its cluster was removed. */
  readonly ownerOf: (uid: string) => ClusterName | undefined;
  /** Takes note of clusters that were removed: their names, by their uids. */
  readonly setRemoved: (names: ReadonlyMap<string, ClusterName>) => void;
  /** Puts a record in the place of the one of its name; undefined takes that away. */
  readonly set: (name: ClusterName, record: ClusterRecord | undefined) => void;
  /** See registryDigest, of all of them. */
  readonly digest: () => string;
}

export function createRecordTable(): RecordTable {
  const records = new Map<ClusterName, ClusterRecord>();
  const byKey = new Map<string, Set<ClusterName>>();
  const owners = new Map<string, ClusterName>();
  let removed: ReadonlyMap<string, ClusterName> = new Map();
  const sum = Buffer.alloc(32);

  const take = (record: ClusterRecord): void => {
    addDigest(sum, recordDigest(record));
    if (owners.get(record.uid) === record.name) owners.delete(record.uid);
    for (const id of record.keys.map(refId)) {
      const names = byKey.get(id);
      names?.delete(record.name);
      if (names?.size === 0) byKey.delete(id);
    }
  };
  const put = (record: ClusterRecord): void => {
    addDigest(sum, recordDigest(record));
    owners.set(record.uid, record.name);
    for (const id of record.keys.map(refId)) {
      const names = byKey.get(id) ?? new Set();
      byKey.set(id, names.add(record.name));
    }
  };
  return {
    records,
    get: (name) => records.get(name),
    using: (key) =>
      [...(byKey.get(refId(key)) ?? [])].flatMap((name) => {
        const record = records.get(name);
        return record === undefined ? [] : [record];
      }),
    ownerOf: (uid) => owners.get(uid) ?? removed.get(uid),
    setRemoved: (names) => {
      removed = names;
    },
    set(name, record) {
      const before = records.get(name);
      if (before !== undefined) take(before);
      if (record === undefined) records.delete(name);
      else {
        records.set(name, record);
        put(record);
      }
    },
    digest: () => digestText(sum),
  };
}
