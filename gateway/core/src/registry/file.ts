// The registry in a YAML file (GitOps). (docs/architecture.md #registry.)
import { readFile } from "node:fs/promises";
import { raceAbort } from "@claviger/proto/runtime/abort.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { piecesOfText } from "./pieces.ts";
import { type FileMark, isSameFile, markOf } from "./file-mark.ts";
import { createPollLoop, type Look } from "./poll-loop.ts";
import type { WholeRegistry } from "./port.ts";
import { readRemovedUids, removedUidsOfFile } from "./removed-uids.ts";
import { runInSlices } from "./slices.ts";
import { createRecordTable } from "./table.ts";
import { createMergedRecords, createProblemReport, storeOf } from "./texts.ts";

/** Keeps the promised second. */
const pollMs = 500;
/** A file system that gives no answer is said to give none; what was read before stays in force. */
const readMs = 3000;

type Contents = {
  readonly mark: FileMark;
  readonly text: string;
  /** Names of the clusters that were removed, by their uids. */
  readonly removed: Awaited<ReturnType<typeof readRemovedUids>>;
};

/**
 * Opens the file and watches it by reading it again: sees an atomic rename, an edit in place and a
 * ConfigMap's symlink swap alike.
 * @throws ConfigError when the first read is not good: a gateway without a registry can serve
 * nobody, and a file that is missing now will be later
 */
export async function openFileRegistry({
  file,
  backends,
  log,
}: {
  readonly file: string;
  readonly backends: Pick<ReadonlySet<string>, "has">;
  readonly log: Log;
}): Promise<WholeRegistry> {
  const table = createRecordTable();
  const records = createMergedRecords({ source: file, backends, table, log });
  const report = createProblemReport(log);
  let text: string | undefined;
  let mark: FileMark | undefined;
  /** What is wrong with `text`. */
  let rejected: unknown;
  let failure: unknown;

  // A read that hangs holds one of a few threads that everything shares: there is one at a time.
  let pending: Promise<Contents | undefined> | undefined;
  const readIfChanged = async (): Promise<Contents | undefined> => {
    const now = await markOf(file);
    if (isSameFile(mark, now)) return undefined;
    const newest = await readFile(file, "utf8");
    return { mark: now, text: newest, removed: await readRemovedUids(await removedUidsOfFile(file)) };
  };
  /** Undefined: it is as it was. */
  const read = async (): Promise<Contents | undefined> => {
    pending ??= readIfChanged().finally(() => {
      pending = undefined;
    });
    const late = AbortSignal.timeout(readMs);
    try {
      const found = await raceAbort(pending, late);
      if (found !== undefined) ({ mark } = found);
      return found;
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      const why = late.aborted ? "no answer from the file system" : (error as NodeJS.ErrnoException).code;
      throw new ConfigError(file, [`cannot be read (${why ?? "unknown error"})`]);
    }
  };
  const look = async (): Promise<Look> => {
    let hasChanged = false;
    try {
      const found = await read();
      hasChanged = found !== undefined && found.text !== text;
      if (found !== undefined && hasChanged) {
        const { text: newest, removed } = found;
        table.setRemoved(removed);
        text = newest;
        rejected = await records.take(() => runInSlices(piecesOfText(file, newest)));
      }
      failure = rejected;
    } catch (error) {
      failure = error;
    }
    report.set(failure);
    return { hasChanged, isGood: failure === undefined };
  };

  const loop = createPollLoop({ look, pollMs });
  await loop.refresh();
  if (!records.isKnown()) throw failure as Error;
  loop.begin();
  return storeOf(table, records, report, loop);
}
