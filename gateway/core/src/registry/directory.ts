// The registry in a directory (GitOps): a YAML file for each cluster, `NAME.yaml`. Files that have not
// changed are neither read nor parsed again. (docs/architecture.md #registry.)
import { type FSWatcher, readFileSync, watch } from "node:fs";
import { lstat, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { raceAbort } from "@claviger/proto/runtime/abort.ts";
import { ConfigError, isTree, parseYaml } from "@claviger/proto/runtime/config.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { type FileMark, isSameFile, markNow, markOf } from "./file-mark.ts";
import type { Pieces } from "./pieces.ts";
import { parsePlainYaml } from "./plain-yaml.ts";
import { createPollLoop, type Look } from "./poll-loop.ts";
import type { WholeRegistry } from "./port.ts";
import { readRemovedUids, removedUidsOfDirectory } from "./removed-uids.ts";
import { createRecordTable } from "./table.ts";
import { createMergedRecords, createProblemReport, storeOf } from "./texts.ts";

/** A file as it was read. */
type Held = {
  readonly mark: FileMark;
  /** The file's name and its text: the same record under another name is another piece. */
  readonly text: string;
  /** Why it cannot be read. */
  readonly failure?: string;
};

/** Keeps the promised second. */
const pollMs = 500;
/** All files are looked at in rounds that begin at least this far apart, milliseconds. */
const roundMs = 1000;
/** What a look gives to the round: a twentieth of the time, so that an edit never waits for ten thousand. */
const shareMs = 25;
/** Of the few threads that everything shares: a file system that gives no answer holds no more of them. */
const parallel = 2;
/** A file system that gives no answer is said to give none; what was read before stays in force. */
const readMs = 5000;

const suffix = /\.ya?ml$/;

/** The name of the cluster whose record a file holds; undefined for a file that holds none. */
export function clusterOfFile(file: string): string | undefined {
  return !file.startsWith(".") && suffix.test(file) ? file.replace(suffix, "") : undefined;
}

/** A file's record. @throws ConfigError */
export function readRecordFile(file: string, text: string, name: string): unknown {
  const plain = parsePlainYaml(text);
  const value = plain === undefined ? parseYaml(file, text) : plain.value;
  if (!isTree(value)) throw new ConfigError(file, ["must be the mapping of one cluster's record: name, uid, ..."]);
  if (value["name"] !== name) throw new ConfigError(file, [`name: must be ${name}, as the file is called`]);
  return value;
}

function piecesOf(files: ReadonlyMap<string, Held>): Pieces {
  const names = [...files.keys()];
  const held = [...files.values()];
  const nameOf = (i: number): string | undefined => clusterOfFile(names[i] ?? "");
  return {
    texts: held.map(({ text }) => text),
    at: (i) => `${names[i]}: `,
    nameOf,
    read(i) {
      const [file = "", { text = "", failure } = {}] = [names[i], held[i]];
      if (failure !== undefined) throw new ConfigError(file, [failure]);
      return readRecordFile(file, text.slice(file.length + 1), nameOf(i) ?? "");
    },
  };
}

/**
 * Opens the directory and watches it: sees an atomic rename, an edit in place and a ConfigMap's symlink
 * swap alike; where the file system tells of edits, at once.
 * @throws ConfigError when the directory cannot be read: it will be missing later, too
 */
export async function openDirectoryRegistry({
  directory,
  backends,
  log,
}: {
  readonly directory: string;
  readonly backends: Pick<ReadonlySet<string>, "has">;
  readonly log: Log;
}): Promise<WholeRegistry> {
  const table = createRecordTable();
  const records = createMergedRecords({ source: directory, backends, table, log });
  const report = createProblemReport(log);
  const files = new Map<string, Held>();
  /** A file has another text than `records` know. */
  let isNew = false;
  /** What the file system tells of; undefined: everything. */
  let touched: Set<string> | undefined;
  /** Names of no record that it tells of. */
  const others = new Set<string>();
  /** Files that this round has not come to yet. */
  let rest: ArrayIterator<string> | undefined;
  let roundAt = Number.NEGATIVE_INFINITY;
  let sharedAt = Number.NEGATIVE_INFINITY;
  /** False until the directory could be read for the first time. */
  const hasBegun = (): boolean => roundAt > Number.NEGATIVE_INFINITY;
  let removed: Awaited<ReturnType<typeof readRemovedUids>> = new Map();
  /** What is wrong with the records. */
  let rejected: unknown;
  let failure: unknown;

  const unreadable = (file: string, error: unknown): Held | undefined => {
    const { code = "unknown error" } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    const failure = `cannot be read (${code})`;
    return { mark: { text: failure, isRecent: true }, text: `${file}\0${failure}`, failure };
  };
  /** The file as it is now: the one held where it has not changed, undefined where it is gone. */
  const readOne = async (file: string): Promise<Held | undefined> => {
    if (clusterOfFile(file) === undefined) return undefined;
    const path = join(directory, file);
    const held = files.get(file);
    try {
      const mark = await markOf(path);
      if (held !== undefined && isSameFile(held.mark, mark)) return held;
      const text = `${file}\n${await readFile(path, "utf8")}`;
      return { mark, text: held?.text === text ? held.text : text };
    } catch (error) {
      return unreadable(file, error);
    }
  };
  /** At the start nobody waits, and ten thousand files are read at once in a tenth of the time. */
  const readFirst = (file: string): Held | undefined => {
    const path = join(directory, file);
    try {
      return { mark: markNow(path), text: `${file}\n${readFileSync(path, "utf8")}` };
    } catch (error) {
      return unreadable(file, error);
    }
  };
  const keep = (file: string, held: Held | undefined): void => {
    if (files.get(file)?.text !== held?.text) isNew = true;
    if (held === undefined) files.delete(file);
    else files.set(file, held);
  };
  /** @returns whether it came to the end of the list */
  const readThese = async (list: ArrayIterator<string>, endAt: number): Promise<boolean> => {
    const read = async (): Promise<boolean> => {
      for (const file of list) {
        keep(file, await readOne(file));
        if (performance.now() >= endAt) return false;
      }
      return true;
    };
    return (await Promise.all(Array.from({ length: parallel }, read))).includes(true);
  };
  const beginRound = async (): Promise<void> => {
    const isFirst = !hasBegun();
    const list = new Set((await readdir(directory)).filter((file) => clusterOfFile(file) !== undefined));
    roundAt = performance.now();
    for (const file of files.keys()) if (!list.has(file)) keep(file, undefined);
    if (isFirst) for (const file of [...list].toSorted()) keep(file, readFirst(file));
    else rest = [...list].values();
  };

  // A ConfigMap's volume changes all its files with one link; an editor's or a command's own file is none
  // of our business.
  const isLinkAmongOthers = async (): Promise<boolean> => {
    const names = [...others];
    others.clear();
    const found = await Promise.all(names.map((name) => lstat(join(directory, name)).catch(() => undefined)));
    return found.some((entry) => entry?.isSymbolicLink() === true);
  };

  let pending: Promise<void> | undefined;
  const readAny = async (): Promise<void> => {
    const isWhole = (await isLinkAmongOthers()) || touched === undefined;
    const some = [...(touched ?? [])];
    touched = new Set();
    await readThese(some.values(), Number.POSITIVE_INFINITY);
    const now = performance.now();
    if (isWhole || (rest === undefined && now - roundAt >= roundMs)) await beginRound();
    if (rest !== undefined && (isWhole || now - sharedAt >= pollMs / 2)) {
      sharedAt = now;
      if (await readThese(rest, isWhole ? Number.POSITIVE_INFINITY : performance.now() + shareMs)) rest = undefined;
    }
    if (isNew || !records.isKnown()) removed = await readRemovedUids(removedUidsOfDirectory(directory));
  };
  const readChanged = async (): Promise<void> => {
    const isFirst = !hasBegun();
    const late = AbortSignal.timeout(touched === undefined ? readMs + files.size : readMs);
    pending ??= readAny().finally(() => {
      pending = undefined;
    });
    try {
      // The first read may take as long as it does: nobody is served before it.
      await (isFirst ? pending : raceAbort(pending, late));
    } catch (error) {
      throw late.aborted ? new ConfigError(directory, ["no answer from the file system"]) : error;
    }
  };
  const look = async (): Promise<Look> => {
    let hasChanged = false;
    try {
      await readChanged();
      hasChanged = isNew;
      // Where a volume is not mounted the directory is empty: that removes nobody.
      if (files.size === 0) throw new ConfigError(directory, ["there is no record, NAME.yaml, in it"]);
      if (hasChanged || !records.isKnown()) {
        table.setRemoved(removed);
        isNew = false;
        rejected = await records.take(() => piecesOf(files));
      }
      failure = rejected;
    } catch (error) {
      touched = undefined;
      const { code = "unknown error" } = error as NodeJS.ErrnoException;
      failure = error instanceof ConfigError ? error : new ConfigError(directory, [`cannot be read (${code})`]);
    }
    report.set(failure);
    return { hasChanged, isGood: failure === undefined };
  };

  const loop = createPollLoop({ look, pollMs });
  let watcher: FSWatcher | undefined;
  const follow = (): void => {
    try {
      watcher = watch(directory, { persistent: false }, (_, file) => {
        if (file === null) touched = undefined;
        else if (clusterOfFile(file) === undefined) others.add(file);
        else touched?.add(file);
        void loop.refresh();
      }).on("error", () => watcher?.close());
    } catch {
      // Not every file system tells: then the looks have to do.
    }
  };
  follow();
  await loop.refresh();
  if (!hasBegun()) {
    watcher?.close();
    throw failure as Error;
  }
  loop.begin();
  return {
    ...storeOf(table, records, report, loop),
    refresh(name) {
      // Not every file system tells of an edit, and none of them at once.
      if (name !== undefined) for (const suffixed of [`${name}.yaml`, `${name}.yml`]) touched?.add(suffixed);
      return loop.refresh();
    },
    close() {
      watcher?.close();
      loop.close();
    },
  };
}
