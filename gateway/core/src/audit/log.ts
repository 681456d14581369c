// The audit log: a result leaves when at least one sink has taken its record; when none can, it does
// not. Each sink has a queue and a deadline of its own, so one that hangs delays nobody.
//
// All sinks hold one chain. A number is used once, whether or not its record was written: after a
// failed write nobody knows how much of it is on the disk. A sink that misses records has a gap in
// its numbers, and the first record after it says how many are missing and in which sink.
// (docs/architecture.md #audit.)
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
/** Between two tries while no sink takes records. */
const tryMs = 1000;
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
  const queues = sinks.map((sink) =>
    createSinkQueue({ sink, log, deadlineMs, onGap: (missed) => note(`${sink.name} misses records`, missed) }),
  );
  let head: ChainHead = { chain: randomUUID(), sequence: 0, previous: "" };
  let waiting: Waiting[] = [];
  let pump: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;

  // What arrives while a write is under way is written together by the next one.
  const run = async (): Promise<void> => {
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      const lines = batch.map(({ entry }) => {
        const chained = chainLine(head, entry);
        head = chained.head;
        return chained.line;
      });
      const bytes = Buffer.from(lines.join(""));
      const isTaken = await Promise.any(queues.map((queue) => queue.add(bytes, batch.length))).then(
        () => true,
        () => false,
      );
      for (const { resolve, reject } of batch) {
        if (isTaken || !required) resolve();
        else reject(new KmsError("audit_unavailable"));
      }
      // A replica that is not ready is asked nothing, and would never find out that a sink is well again.
      if (!isTaken) timer ??= setTimeout(tryAgain, tryMs).unref();
    }
    pump = undefined;
  };
  const add = (one: Waiting): void => {
    waiting.push(one);
    pump ??= run();
  };
  /** A record of the log's own, which nobody waits for. */
  const note = (cause: string, count: number): void => {
    const own = { method: "audit", outcome: "failed", reason: "audit_unavailable" } as const;
    add({ entry: { at: Date.now(), milliseconds: 0, ...own, count, cause }, resolve: () => {}, reject: () => {} });
  };
  const tryAgain = (): void => {
    timer = undefined;
    if (queues.every((queue) => queue.state().problem !== undefined)) note("no sink took records", 0);
  };

  return {
    record: (entry) =>
      new Promise((resolve, reject) => {
        add({ entry, resolve, reject });
      }),
    isHealthy: () => !required || queues.some((queue) => queue.state().problem === undefined),
    sinks: () => queues.map((queue) => queue.state()),
    async close() {
      clearTimeout(timer);
      await pump;
      await Promise.all(queues.map((queue) => queue.close(closeMs)));
    },
  };
}
