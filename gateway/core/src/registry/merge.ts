// Reads an edit and holds it against what is in force: every good record, and in place of a bad one what
// was good last. Records whose text has not changed are not read again, and the work can be done in
// slices. (docs/architecture.md #registry.)
import { setImmediate as nextTurn } from "node:timers/promises";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { type ClusterName, clusterName } from "@claviger/proto/wire/names.ts";
import { type Piece, piecesOfText, withCurrentNames } from "./pieces.ts";
import {
  backendProblems,
  changeProblems,
  type CheckedRecord,
  checkRecord,
  type ClusterRecord,
  type Registry,
} from "./record.ts";
import { createRecordTable, type RecordTable } from "./table.ts";

/** What a piece holds. */
type Unit = CheckedRecord & { readonly at: string };

/** What a gateway makes of an edit. */
export type Merged = {
  /** Everything that is wrong, one line each. */
  readonly problems: readonly string[];
  /** Names whose record is bad, and of which none was good before. */
  readonly broken: ReadonlySet<string>;
  /** Fields that stand under a name of 0.1.0, one line each. */
  readonly renamed: ReadonlySet<string>;
};

/** Work that can rest wherever it yields. */
type Work<T> = Generator<undefined, T>;

/** A slice of work takes about this long. */
const sliceMs = 4;

/** Does all of it at once. */
export function runAtOnce<T>(work: Work<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
  }
}

/** Does it in slices of some milliseconds; between them the event loop turns. */
export async function runInSlices<T>(work: Work<T>): Promise<T> {
  for (;;) {
    const end = performance.now() + sliceMs;
    do {
      const { done, value } = work.next();
      if (done === true) return value;
    } while (performance.now() < end);
    await nextTurn();
  }
}

function grouped(units: Iterable<Unit>, keyOf: (unit: Unit) => string | undefined): ReadonlyMap<string, Unit[]> {
  const groups = new Map<string, Unit[]>();
  for (const unit of units) {
    const key = keyOf(unit);
    if (key === undefined) continue;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [unit]);
    else group.push(unit);
  }
  return groups;
}

export interface Merger {
  readonly table: RecordTable;
  /** Takes an edit. What is in force changes at once, when all of the edit has been read. */
  readonly apply: (pieces: readonly Piece[]) => Work<Merged>;
}

/** @param backends the names that the configuration knows */
export function createMerger(
  backends: Pick<ReadonlySet<string>, "has">,
  table: RecordTable = createRecordTable(),
): Merger {
  /** What the pieces of the last edit held, by their text. */
  let known = new Map<string, Unit>();

  const read = ({ read: readValue, at }: Piece, warn: (line: string) => void): Unit => {
    try {
      return { at, ...checkRecord(withCurrentNames(readValue(), warn)) };
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return { at, name: undefined, problems: error.problems };
    }
  };

  /** What is wrong with the only record of a name. */
  const problemsOf = (record: ClusterRecord, sharing: readonly Unit[]): readonly string[] => {
    const { name, uid } = record;
    const before = table.get(name);
    // What was in force in the same words is so still.
    const own = before === record ? [] : changeProblems(record, before, table.ownerOf(uid));
    if (sharing.length < 2) return [...backendProblems(record, backends), ...own];
    // Whose it was before keeps it.
    const isOwner = table.ownerOf(uid) === name;
    return [...backendProblems(record, backends), ...own, ...(isOwner ? [] : [`the uid ${uid} stands twice`])];
  };

  return {
    table,
    *apply(pieces) {
      const next = new Map<string, Unit>();
      const lines = new Set<string>();
      for (const piece of pieces) {
        // The same text twice is the same name twice.
        const key = next.has(piece.text) ? `${piece.text}\0${piece.at}` : piece.text;
        const before = known.get(key);
        next.set(key, before === undefined ? read(piece, (line) => lines.add(line)) : { ...before, at: piece.at });
        yield;
      }
      const byName = grouped(next.values(), ({ name }) => name);
      yield;
      const byUid = grouped(next.values(), ({ record }) => record?.uid);
      yield;
      const problems: string[] = [];
      const broken = new Set<string>();
      const changes = new Map<ClusterName, ClusterRecord | undefined>();
      for (const { name, at, problems: own } of next.values())
        if (name === undefined) problems.push(...own.map((text) => `${at}.${text}`));
      for (const [name, units] of byName) {
        const [first, ...others] = units;
        const { record } = first ?? {};
        const found = units.flatMap(({ at, problems: own }) => own.map((text) => `${at}.${text}`));
        if (others.length > 0) found.push(`clusters: the name ${name} stands twice`);
        for (const { record: each } of units)
          if (each !== undefined) found.push(...problemsOf(each, byUid.get(each.uid) ?? []));
        problems.push(...found);
        if (found.length === 0 && record !== undefined) {
          if (table.get(record.name) !== record) changes.set(record.name, record);
        } else if (!clusterName.is(name) || table.get(name) === undefined) broken.add(name);
        yield;
      }
      for (const name of table.records.keys()) if (!byName.has(name)) changes.set(name, undefined);
      yield;
      // In one go: nobody sees half an edit.
      for (const [name, record] of changes) if (record === undefined) table.set(name, undefined);
      for (const [name, record] of changes) if (record !== undefined) table.set(name, record);
      known = next;
      return { problems: [...new Set(problems)], broken, renamed: lines };
    },
  };
}

/**
 * Reads a text and holds it against what is in force.
 * @param previous undefined at the first load
 * @throws ConfigError when the text as a whole is of no use
 */
export function mergeRegistry(
  source: string,
  text: string,
  backends: Pick<ReadonlySet<string>, "has">,
  previous: Registry | undefined,
): Merged & { readonly registry: Registry } {
  const { table, apply } = createMerger(backends);
  for (const [name, record] of previous ?? []) table.set(name, record);
  const merged = runAtOnce(apply(piecesOfText(source, text)));
  return { ...merged, registry: table.records };
}

/**
 * Reads a registry in which everything must be good: for those who edit it.
 * @throws ConfigError with every problem
 */
export function parseRegistry(
  source: string,
  text: string,
  backends: Pick<ReadonlySet<string>, "has">,
  previous: Registry | undefined,
): Registry {
  const { registry, problems } = mergeRegistry(source, text, backends, previous);
  if (problems.length > 0) throw new ConfigError(source, problems);
  return registry;
}
