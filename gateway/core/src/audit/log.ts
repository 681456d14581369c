// The audit log: a result leaves when at least one sink has taken its record; when none can, it does
// not. Each sink has a queue and a deadline of its own, so one that hangs delays nobody. A sink that
// could not keep up or failed misses records, which shows as a gap in the numbers of its chain; the
// log says so. (docs/architecture.md #audit.)
import { randomUUID } from "node:crypto";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { type AuditEntry, chainLine, type ChainHead } from "./record.ts";
import { createSinkQueue, type SinkState } from "./queue.ts";
import type { AuditSink } from "./sinks.ts";

export interface AuditLog {
  /**
   * Resolves when a sink has taken the record.
   * @throws KmsError audit_unavailable when none did in time and records are required
   */
  record(entry: AuditEntry): Promise<void>;
  /** Can a record be taken, as far as the last writes say? */
  isHealthy(): boolean;
  /** Each sink by name, with what is wrong and since when. */
  sinks(): readonly SinkState[];
  /** Waits for what is under way, for a moment, and closes the sinks. */
  close(): Promise<void>;
}

type Waiting = { readonly entry: AuditEntry; readonly resolve: () => void; readonly reject: (error: KmsError) => void };

/** How long a sink may take for a write, in milliseconds. */
const sinkMs = 1000;
/** How long the end of a process waits for its sinks. */
const closeMs = 2000;

/** @param sinks each is written to by this log alone */
export function createAuditLog({
  sinks,
  required,
  log,
  deadlineMs = sinkMs,
}: {
  readonly sinks: readonly AuditSink[];
  readonly required: boolean;
  readonly log: Log;
  readonly deadlineMs?: number;
}): AuditLog {
  const queues = sinks.map((sink) => createSinkQueue({ sink, log, deadlineMs }));
  let head: ChainHead = { chain: randomUUID(), sequence: 0, previous: "" };
  let waiting: Waiting[] = [];
  let pump: Promise<void> | undefined;

  // What arrives while a write is under way is written together by the next one.
  const run = async (): Promise<void> => {
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      let next = head;
      const lines = batch.map(({ entry }) => {
        const chained = chainLine(next, entry);
        next = chained.head;
        return chained.line;
      });
      const bytes = Buffer.from(lines.join(""));
      const writes = queues.map((queue) => queue.add(bytes, batch.length));
      const isTaken = await Promise.any(writes).then(
        () => true,
        () => false,
      );
      // A batch that was certainly written nowhere never was: the chain goes on from before it. One
      // that may yet be written keeps its numbers.
      const outcomes = isTaken ? [] : await Promise.allSettled(writes.map((write) => write.catch(isTimeout)));
      const mayExist = isTaken || outcomes.some((outcome) => outcome.status === "fulfilled" && outcome.value === true);
      if (mayExist) head = next;
      for (const { resolve, reject } of batch) {
        if (isTaken || !required) resolve();
        else reject(new KmsError("audit_unavailable"));
      }
    }
    pump = undefined;
  };

  return {
    record: (entry) =>
      new Promise((resolve, reject) => {
        waiting.push({ entry, resolve, reject });
        pump ??= run();
      }),
    isHealthy: () => !required || queues.some((queue) => queue.state().problem === undefined),
    sinks: () => queues.map((queue) => queue.state()),
    async close() {
      await pump;
      await Promise.all(queues.map((queue) => queue.close(closeMs)));
    },
  };
}

/** The write is late, and may still be made. */
function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === "TimeoutError";
}
