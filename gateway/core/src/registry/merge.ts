// Reads an edit and holds it against what is in force: every good record, and in place of a bad one what
// was good last. Records whose text has not changed are not read again, and the work can be done in
// slices. (docs/architecture.md #registry.)
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { type ClusterName, clusterName } from "@claviger/proto/wire/names.ts";
import { type Pieces, piecesOfText, withCurrentNames } from "./pieces.ts";
import {
  backendProblems,
  changeProblems,
  type CheckedRecord,
  checkRecord,
  type ClusterRecord,
  type Registry,
} from "./record.ts";
import { runAtOnce, type Work } from "./slices.ts";
import { createRecordTable, type RecordTable } from "./table.ts";

/** What a gateway makes of an edit. */
export type Merged = {
  /** Everything that is wrong, one line each. */
  readonly problems: readonly string[];
  /** Names whose record is bad, and of which none was good before. */
  readonly broken: ReadonlySet<string>;
  /** Fields that stand under a name of 0.1.0, one line each. */
  readonly renamed: ReadonlySet<string>;
};

/** What a piece holds. */
type Unit = CheckedRecord & {
  readonly text: string;
  /** Which piece of the last edit it was. */
  index: number;
  /** The number of the last edit that had it. */
  edit: number;
};

/** Units by something that several may have in common; those that have it not are left out. */
function createGroups(keyOf: (unit: Unit) => string | undefined) {
  const groups = new Map<string, readonly Unit[]>();
  const of = (key: string): readonly Unit[] => groups.get(key) ?? [];
  return {
    of,
    add(unit: Unit): void {
      const key = keyOf(unit);
      if (key !== undefined) groups.set(key, [...of(key), unit]);
    },
    delete(unit: Unit): void {
      const key = keyOf(unit);
      if (key === undefined) return;
      const others = of(key).filter((other) => other !== unit);
      if (others.length === 0) groups.delete(key);
      else groups.set(key, others);
    },
  };
}

export interface Merger {
  readonly table: RecordTable;
  /**
   * Takes an edit. What is in force changes at once, when all of the edit has been read. One edit at a
   * time.
   */
  readonly apply: (pieces: Pieces) => Work<Merged>;
}

/** A piece's text, without the text that it was cut from. */
function copyOf(text: string): string {
  return Buffer.from(text).toString();
}

/** @param backends the names that the configuration knows */
export function createMerger(
  backends: Pick<ReadonlySet<string>, "has">,
  table: RecordTable = createRecordTable(),
): Merger {
  const units = new Map<string, Unit>();
  const byName = createGroups(({ name }) => name);
  const byUid = createGroups(({ record }) => record?.uid);
  /** What is wrong with the records of a name. */
  const wrong = new Map<string, readonly string[]>();
  let edit = 0;

  const read = (pieces: Pieces, index: number, warn: (line: string) => void): Unit => {
    const unit = { text: copyOf(pieces.texts[index] ?? ""), index, edit };
    try {
      const checked = checkRecord(withCurrentNames(pieces.read(index), warn));
      return { ...unit, ...checked, name: checked.name ?? pieces.nameOf(index) };
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return { ...unit, name: pieces.nameOf(index), problems: error.problems };
    }
  };

  /** What is wrong with a record beside its fields. */
  const rulesBroken = (record: ClusterRecord): readonly string[] => {
    const { name, uid } = record;
    const before = table.get(name);
    // What was in force in the same words is so still.
    const own = before === record ? [] : changeProblems(record, before, table.ownerOf(uid));
    // Whose it was before keeps it.
    const isShared = byUid.of(uid).length > 1 && table.ownerOf(uid) !== name;
    return [...backendProblems(record, backends), ...own, ...(isShared ? [`the uid ${uid} stands twice`] : [])];
  };

  const problemsOf = (name: string, at: Pieces["at"]): readonly string[] => {
    const all = byName.of(name);
    return [
      ...all.flatMap(({ index, problems }) => problems.map((text) => at(index) + text)),
      ...(all.length > 1 ? [`clusters: the name ${name} stands twice`] : []),
      ...all.flatMap(({ record }) => (record === undefined ? [] : rulesBroken(record))),
    ];
  };

  /** Reads what is new, and forgets what is gone. @returns the names that this may concern */
  function* takeIn(pieces: Pieces, warn: (line: string) => void): Work<ReadonlySet<string>> {
    const concerned = new Set<string>(wrong.keys());
    const touch = (unit: Unit): void => {
      if (unit.name !== undefined) concerned.add(unit.name);
      for (const { name } of unit.record === undefined ? [] : byUid.of(unit.record.uid))
        if (name !== undefined) concerned.add(name);
    };
    const added: Unit[] = [];
    edit += 1;
    for (const [index, text] of pieces.texts.entries()) {
      // The same text twice is the same name twice.
      const key = units.get(text)?.edit === edit ? `${text}\0${index}` : text;
      const known = units.get(key);
      if (known !== undefined) {
        known.edit = edit;
        known.index = index;
      } else {
        const unit = read(pieces, index, warn);
        units.set(key === text ? unit.text : key, unit);
        added.push(unit);
      }
      yield;
    }
    for (const [key, unit] of units) {
      if (unit.edit !== edit) {
        touch(unit);
        units.delete(key);
        byName.delete(unit);
        byUid.delete(unit);
      }
      yield;
    }
    for (const unit of added) {
      byName.add(unit);
      byUid.add(unit);
      touch(unit);
      yield;
    }
    return concerned;
  }

  return {
    table,
    *apply(pieces) {
      const renamed = new Set<string>();
      const concerned = yield* takeIn(pieces, (line) => renamed.add(line));
      const changes = new Map<ClusterName, ClusterRecord | undefined>();
      for (const name of concerned) {
        const problems = problemsOf(name, pieces.at);
        const record = byName.of(name)[0]?.record;
        if (problems.length > 0) wrong.set(name, problems);
        else {
          wrong.delete(name);
          if (record !== undefined && table.get(record.name) !== record) changes.set(record.name, record);
        }
        yield;
      }
      const nameless: string[] = [];
      for (const { name, index, problems } of units.values()) {
        if (name === undefined) nameless.push(...problems.map((text) => pieces.at(index) + text));
        yield;
      }
      // Whose record it is that cannot be read, nobody knows: it may be any that seems to be gone.
      if (nameless.length === 0)
        for (const name of table.records.keys()) {
          if (byName.of(name).length === 0) changes.set(name, undefined);
          yield;
        }
      // In one go: nobody sees half an edit.
      for (const [name, record] of changes) if (record === undefined) table.set(name, undefined);
      for (const [name, record] of changes) if (record !== undefined) table.set(name, record);
      const broken = new Set([...wrong.keys()].filter((name) => !clusterName.is(name) || !table.records.has(name)));
      const problems = new Set([...nameless, ...[...wrong.values()].flat()]);
      return { problems: [...problems], broken, renamed };
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
  const merged = runAtOnce(apply(runAtOnce(piecesOfText(source, text))));
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
