// The registry in a directory (GitOps): a YAML file for each cluster, `NAME.yaml`. Files that have not
// changed are neither read nor parsed again. (docs/architecture.md #registry.)
import { type FSWatcher, readFileSync, watch } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { raceAbort } from "@claviger/proto/runtime/abort.ts";
import { ConfigError, isTree, parseYaml } from "@claviger/proto/runtime/config.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { type FileMark, isSameFile, markNow, markOf } from "./file-mark.ts";
import type { Pieces } from "./pieces.ts";
import { parsePlainYaml } from "./plain-yaml.ts";
import { createPollLoop, type Look } from "./poll-loop.ts";
import type { RegistryStore } from "./port.ts";
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
/** All files are looked at again after this time, or after 20 times as long as that takes. */
const scanMs = 1000;
const scanShare = 20;
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

function isOther(next: ReadonlyMap<string, Held>, files: ReadonlyMap<string, Held>): boolean {
  if (next.size !== files.size) return true;
  for (const [file, { text }] of next) if (files.get(file)?.text !== text) return true;
  return false;
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
  readonly backends: ReadonlySet<string>;
  readonly log: Log;
}): Promise<RegistryStore> {
  const table = createRecordTable();
  const records = createMergedRecords({ source: directory, backends, table, log });
  const report = createProblemReport(log);
  let files = new Map<string, Held>();
  /** What the file system tells of; undefined: everything. */
  let touched: Set<string> | undefined;
  let scannedAt = Number.NEGATIVE_INFINITY;
  let scanTookMs = 0;
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
  const readThese = async (list: readonly string[], into: Map<string, Held>): Promise<void> => {
    const left = list.values();
    const read = async (): Promise<void> => {
      for (const file of left) {
        const held = await readOne(file);
        if (held === undefined) into.delete(file);
        else into.set(file, held);
      }
    };
    await Promise.all(Array.from({ length: parallel }, read));
  };
  const scan = async (): Promise<Map<string, Held>> => {
    const began = performance.now();
    const next = new Map<string, Held>();
    const list = (await readdir(directory)).filter((file) => clusterOfFile(file) !== undefined).toSorted();
    // In the order of their names, whatever is read first.
    for (const file of list) {
      const held = files.get(file);
      if (held !== undefined) next.set(file, held);
    }
    if (scannedAt > Number.NEGATIVE_INFINITY) await readThese(list, next);
    else
      for (const file of list) {
        const held = readFirst(file);
        if (held !== undefined) next.set(file, held);
      }
    scannedAt = performance.now();
    scanTookMs = scannedAt - began;
    return next;
  };
  const isScanDue = (): boolean =>
    touched === undefined || performance.now() - scannedAt >= Math.max(scanMs, scanShare * scanTookMs);

  let pending: Promise<Map<string, Held>> | undefined;
  const readAny = async (): Promise<Map<string, Held>> => {
    const isWhole = isScanDue();
    const some = [...(touched ?? [])];
    touched = new Set();
    if (isWhole) return await scan();
    if (some.length === 0) return files;
    const next = new Map(files);
    await readThese(some, next);
    return next;
  };
  const readChanged = async (): Promise<Map<string, Held>> => {
    pending ??= readAny().finally(() => {
      pending = undefined;
    });
    const late = AbortSignal.timeout(Math.max(readMs, 2 * scanTookMs));
    try {
      // The first read may take as long as it does: nobody is served before it.
      return await (scannedAt === Number.NEGATIVE_INFINITY ? pending : raceAbort(pending, late));
    } catch (error) {
      throw late.aborted ? new ConfigError(directory, ["no answer from the file system"]) : error;
    }
  };
  const look = async (): Promise<Look> => {
    let hasChanged = false;
    try {
      const next = await readChanged();
      hasChanged = next !== files && isOther(next, files);
      files = next;
      // Where a volume is not mounted the directory is empty: that removes nobody.
      if (files.size === 0) throw new ConfigError(directory, ["there is no record, NAME.yaml, in it"]);
      if (hasChanged || !records.isKnown()) rejected = await records.take(() => piecesOf(files));
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
        if (file === null || clusterOfFile(file) === undefined) touched = undefined;
        else touched?.add(file);
        void loop.refresh();
      }).on("error", () => watcher?.close());
    } catch {
      // Not every file system tells: then the looks have to do.
    }
  };
  follow();
  await loop.refresh();
  if (scannedAt === Number.NEGATIVE_INFINITY) {
    watcher?.close();
    throw failure as Error;
  }
  loop.begin();
  return {
    ...storeOf(table, records, report, loop),
    close() {
      watcher?.close();
      loop.close();
    },
  };
}
