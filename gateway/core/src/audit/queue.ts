// One sink's queue: written one batch at a time, bounded in bytes, with a deadline for each batch.
import { setTimeout as sleep } from "node:timers/promises";
import { describeError, type Log } from "@claviger/proto/runtime/log.ts";
import type { Runs } from "./record.ts";
import type { AuditSink } from "./port.ts";

export type SinkState = {
  readonly name: string;
  /** What is wrong, in words; undefined while the sink takes records. */
  readonly problem: string | undefined;
  /** Unix milliseconds of the first failure in a row. */
  readonly since: number | undefined;
  /** Records that this sink does not have. */
  readonly missed: number;
  /** Writes that failed, took too long, or found the queue full. */
  readonly failures: number;
  /** Of the lines that wait. */
  readonly queuedBytes: number;
};

export interface SinkQueue {
  /**
   * Resolves when the sink has taken the lines.
   * @param first the number of the first record
   * @param records how many records the lines are
   * @throws the sink's error; Error `TimeoutError` when it takes longer than the deadline: it may
   * still take them; Error when the queue is full
   */
  add(lines: Buffer, first: number, records: number): Promise<void>;
  /** Opens the sink anew once what is under way is written. @throws the system's error */
  reopen(): Promise<void>;
  state(): SinkState;
  /** Waits for what is queued, at most so many milliseconds, and closes the sink. */
  close(milliseconds: number): Promise<void>;
}

/** Lines that wait for a slow sink, in bytes. */
const maxBytes = 8 * 2 ** 20;

type Queued = {
  readonly lines: Buffer;
  readonly first: number;
  readonly records: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  /** Rejects when the sink takes too long. */
  readonly timer: NodeJS.Timeout;
};

/** Runs of missing numbers that are told apart; more of them count as one with what is between. */
const maxRuns = 64;

function withRun(runs: Runs, first: number, last: number): Runs {
  const end = runs.at(-1);
  if (end === undefined || (first > end[1] + 1 && runs.length < maxRuns)) return [...runs, [first, last]];
  return [...runs.slice(0, -1), [Math.min(end[0], first), Math.max(end[1], last)]];
}

export function createSinkQueue({
  sink,
  log,
  deadlineMs,
  onGap,
}: {
  readonly sink: AuditSink;
  readonly log: Log;
  readonly deadlineMs: number;
  /** The sink takes records again and misses so many since it last did: these numbers. */
  readonly onGap: (missed: number, missing: Runs) => void;
}): SinkQueue {
  const queue: Queued[] = [];
  let bytes = 0;
  let pump: Promise<void> | undefined;
  let problem: string | undefined;
  let since: number | undefined;
  let missed = 0;
  let failures = 0;
  let gap = 0;
  let missing: Runs = [];

  const lose = ({ first, records }: Pick<Queued, "first" | "records">): void => {
    missed += records;
    gap += records;
    missing = withRun(missing, first, first + records - 1);
  };
  const fail = (error: Error): void => {
    failures += 1;
    if (problem === undefined) {
      since = Date.now();
      log.error({ event: "audit-sink-failed", sink: sink.name, err: error }, "an audit sink takes no records");
    }
    problem = describeError(error);
  };
  // Half empty before it counts as well: the record that names the gap must find room, and a sink
  // that is merely slow must not fail and recover with every write.
  const succeed = (): void => {
    if (problem === undefined || bytes > maxBytes / 2) return;
    log.info({ event: "audit-sink-recovered", sink: sink.name, missed: gap }, "an audit sink takes records again");
    problem = undefined;
    since = undefined;
    const [count, runs] = [gap, missing];
    [gap, missing] = [0, []];
    if (count > 0) onGap(count, runs);
  };

  const run = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      try {
        await sink.write(next.lines);
        bytes -= next.lines.length;
        succeed();
        next.resolve();
      } catch (error) {
        bytes -= next.lines.length;
        const wrapped = error instanceof Error ? error : new Error(String(error));
        lose(next);
        fail(wrapped);
        next.reject(wrapped);
      } finally {
        clearTimeout(next.timer);
      }
    }
    pump = undefined;
  };

  return {
    add: (lines, first, records) =>
      new Promise<void>((resolve, reject) => {
        if (bytes + lines.length > maxBytes) {
          const error = new Error(`the queue of ${sink.name} is full`);
          lose({ first, records });
          fail(error);
          return reject(error);
        }
        const timer = setTimeout(() => {
          const error = new Error(`${sink.name} has taken no record for ${deadlineMs} ms`);
          error.name = "TimeoutError";
          // Not missed yet: it may still be written.
          fail(error);
          reject(error);
        }, deadlineMs);
        bytes += lines.length;
        queue.push({ lines, first, records, resolve, reject, timer });
        pump ??= run();
        return undefined;
      }),
    reopen: () => sink.reopen?.() ?? Promise.resolve(),
    state: () => ({ name: sink.name, problem, since, missed, failures, queuedBytes: bytes }),
    async close(milliseconds) {
      if (pump !== undefined) await Promise.race([pump, sleep(milliseconds, undefined, { ref: false })]);
      // A sink that hangs in a write would hang in its close as well.
      if (pump === undefined) await sink.close();
    },
  };
}
