// The audit log: a result leaves when at least one sink has taken its record; when none can, it
// does not. (docs/architecture.md #audit.)
import { randomUUID } from "node:crypto";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { type AuditEntry, chainLine, type ChainHead } from "./record.ts";
import type { AuditSink } from "./sinks.ts";

export interface AuditLog {
  /**
   * Resolves when a sink has taken the record.
   * @throws KmsError audit_unavailable when none did and records are required
   */
  record(entry: AuditEntry): Promise<void>;
  /** Did the newest write reach a sink? */
  isHealthy(): boolean;
  /** Waits for what is under way and closes the sinks. */
  close(): Promise<void>;
}

type Waiting = { readonly entry: AuditEntry; readonly resolve: () => void; readonly reject: (error: KmsError) => void };

/** @param sinks each is written to by this log alone */
export function createAuditLog({
  sinks,
  required,
  log,
}: {
  readonly sinks: readonly AuditSink[];
  readonly required: boolean;
  readonly log: Log;
}): AuditLog {
  let head: ChainHead = { chain: randomUUID(), sequence: 0, previous: "" };
  let waiting: Waiting[] = [];
  let pump: Promise<void> | undefined;
  let isHealthy = true;
  const failing = new Set<string>();

  const take = async (sink: AuditSink, lines: Buffer): Promise<boolean> => {
    try {
      await sink.write(lines);
      if (failing.delete(sink.name))
        log.info({ event: "audit-sink-recovered", sink: sink.name }, "an audit sink takes records again");
      return true;
    } catch (error) {
      if (!failing.has(sink.name))
        log.error({ event: "audit-sink-failed", sink: sink.name, err: error }, "an audit sink takes no records");
      failing.add(sink.name);
      return false;
    }
  };

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
      const taken = await Promise.all(sinks.map((sink) => take(sink, bytes)));
      isHealthy = taken.includes(true);
      // What no sink took was never recorded: the chain goes on from before it.
      if (isHealthy) head = next;
      for (const { resolve, reject } of batch) {
        if (isHealthy || !required) resolve();
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
    isHealthy: () => isHealthy || !required,
    async close() {
      await pump;
      await Promise.all(sinks.map((sink) => sink.close()));
    },
  };
}
