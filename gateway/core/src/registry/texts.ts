// A registry whose records are read all at once: what each edit's pieces make of what is in force. A bad
// record keeps its own last good state and is named loudly. (docs/architecture.md #registry.)
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { KmsError, toKmsError } from "@claviger/proto/wire/errors.ts";
import type { ClusterName } from "@claviger/proto/wire/names.ts";
import { createMerger } from "./merge.ts";
import type { Pieces } from "./pieces.ts";
import type { PollLoop } from "./poll-loop.ts";
import type { RegistryNumbers, WholeRegistry } from "./port.ts";
import type { ClusterRecord } from "./record.ts";
import { runInSlices } from "./slices.ts";
import type { RecordTable } from "./table.ts";

export interface MergedRecords {
  /** As WholeRegistry. */
  readonly get: (name: ClusterName) => ClusterRecord | undefined;
  /** False while nothing good was taken. */
  readonly isKnown: () => boolean;
  /**
   * Takes an edit, in slices.
   * @param cut makes its pieces
   * @returns everything that is wrong with it, a ConfigError; undefined where nothing is
   */
  readonly take: (cut: () => Pieces | Promise<Pieces>) => Promise<unknown>;
}

export function createMergedRecords({
  source,
  backends,
  table,
  log,
}: {
  readonly source: string;
  readonly backends: Pick<ReadonlySet<string>, "has">;
  readonly table: RecordTable;
  readonly log: Log;
}): MergedRecords {
  const merger = createMerger(backends, table);
  let broken: ReadonlySet<string> = new Set();
  let isKnown = false;
  return {
    get(name) {
      const record = table.get(name);
      if (record !== undefined) return record;
      if (!isKnown)
        throw new KmsError("backend_unavailable", { cause: new Error("the registry could not be read yet") });
      if (broken.has(name))
        throw new KmsError("backend_unavailable", { cause: new Error("its record in the registry is not usable") });
      return undefined;
    },
    isKnown: () => isKnown,
    async take(cut) {
      try {
        const merged = await runInSlices(merger.apply(await cut()));
        isKnown = true;
        ({ broken } = merged);
        for (const line of merged.renamed)
          log.warn({ event: "setting-renamed", problem: line }, "a setting has another name now");
        log.info({ event: "registry-changed", clusters: table.records.size }, "the registry has changed");
        return merged.problems.length > 0 ? new ConfigError(source, merged.problems) : undefined;
      } catch (error) {
        return error;
      }
    },
  };
}

/** The store of records that are read all at once. */
export function storeOf(
  table: RecordTable,
  { get }: MergedRecords,
  { problem, count }: ProblemReport,
  loop: PollLoop,
): WholeRegistry {
  return {
    get,
    load: () => undefined,
    loadAll: () => Promise.resolve(),
    known: () => [...table.records.values()],
    using: table.using,
    version: table.digest,
    problem,
    numbers: () => numbersOf(table, count(), loop),
    refresh: () => loop.refresh(),
    close: loop.close,
  };
}

/** @param edit of a registry whose writers count their edits */
export function numbersOf(table: RecordTable, problems: number, loop: PollLoop, edit?: number): RegistryNumbers {
  const goodAt = loop.goodAt();
  return {
    clusters: table.records.size,
    problems,
    ...(goodAt !== undefined && { goodAt }),
    ...(edit !== undefined && { edit }),
  };
}

/** Problems that a log line and /readyz name; a number stands for the others. */
const namedProblems = 20;

function reasonOf(error: unknown): string {
  if (!(error instanceof ConfigError)) return `it cannot be read (${toKmsError(error).reason})`;
  const more = error.problems.length - namedProblems;
  if (more <= 0) return error.message;
  const [head = "", ...lines] = error.message.split("\n");
  return [head, ...lines.slice(0, namedProblems), `  and ${more} more`].join("\n");
}

export type ProblemReport = {
  /** Undefined: all is good. */
  readonly set: (error: unknown) => void;
  readonly problem: () => string | undefined;
  /** How many there are; one where it cannot be read. */
  readonly count: () => number;
};

/** Says what is wrong, once, loudly. */
export function createProblemReport(log: Log): ProblemReport {
  let problem: string | undefined;
  let count = 0;
  return {
    set(error) {
      if (error === undefined) count = 0;
      else count = error instanceof ConfigError ? error.problems.length : 1;
      const now = error === undefined ? undefined : reasonOf(error);
      if (now !== undefined && now !== problem)
        log.error(
          { event: "registry-rejected", problem: now },
          "the registry is not usable as it is; in place of what is wrong the last good state stays in force",
        );
      problem = now;
    },
    problem: () => problem,
    count: () => count,
  };
}
