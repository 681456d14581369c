// The audit log: a result leaves when at least one sink has taken its record; when none can, it does
// not. Each sink has a queue and a deadline of its own, so one that hangs delays nobody.
//
// All sinks hold one chain. A number is used once, whether or not its record was written: after a
// failed write nobody knows how much of it is on the disk. A sink that misses records has a gap in
// its numbers, and the first record after it says which are missing and in which sink.
//
// The chain says where it begins and ends, and has its head signed in between.
// (docs/architecture.md #audit.)
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { createChain } from "./chain.ts";
import { createHeadSigner, type HeadSigner } from "./heads.ts";
import type { AuditEntry, ChainHead } from "./record.ts";
import { createSinkQueue, type SinkState } from "./queue.ts";
import type { AuditSink } from "./port.ts";

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
  /** Since when there may be records that no signed head covers, Unix seconds; undefined without an integrity key. */
  signedAt(): number | undefined;
  /** Opens the sinks anew, e.g. after their files were moved away. Failures are those of the next write. */
  reopen(): Promise<void>;
  /** Waits for what is under way, for a moment, ends the chain and closes the sinks. */
  close(): Promise<void>;
}

type Waiting = { readonly entry: AuditEntry; readonly resolve: () => void; readonly reject: (error: KmsError) => void };

/** How long a sink may take for a write, in milliseconds. */
const sinkMs = 1000;
/** Between two tries while no sink takes records. */
const tryMs = 1000;
/** How long the end of a process waits for its sinks. */
const closeMs = 2000;

const unavailable = { method: "audit", outcome: "failed", reason: "audit_unavailable" } as const;
const headOf = { method: "chainHead", outcome: "ok" } as const;

export type AuditLogOptions = {
  /** Each is written to by this log alone. */
  readonly sinks: readonly AuditSink[];
  readonly required: boolean;
  readonly log: Log;
  readonly deadlineMs?: number;
  /** The first record of the chain: who writes it, and what the sinks' files ended with. Absent: none. */
  readonly start?: { readonly replica: string; readonly earlier: readonly ChainHead[] };
  /** Makes the chain one that nobody else can make anew. */
  readonly signer?: HeadSigner;
};

export function createAuditLog({
  sinks,
  required,
  log,
  deadlineMs = sinkMs,
  start,
  signer,
}: AuditLogOptions): AuditLog {
  const queues = sinks.map((sink) =>
    createSinkQueue({
      sink,
      log,
      deadlineMs,
      onGap: (count, missing) => note({ ...unavailable, count, missing, cause: `${sink.name} misses records` }),
    }),
  );
  const chain = createChain(signer?.key);
  let waiting: Waiting[] = [];
  let pump: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;

  // What arrives while a write is under way is written together by the next one.
  const run = async (): Promise<void> => {
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      const first = (chain.head()?.sequence ?? -1) + 1;
      const bytes = Buffer.from(batch.map(({ entry }) => chain.append(entry)).join(""));
      const isTaken = await Promise.any(queues.map((queue) => queue.add(bytes, first, batch.length))).then(
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
  const note = (own: Omit<AuditEntry, "at" | "milliseconds">): void =>
    add({ entry: { at: Date.now(), milliseconds: 0, ...own }, resolve: () => {}, reject: () => {} });
  const tryAgain = (): void => {
    timer = undefined;
    if (queues.every((queue) => queue.state().problem !== undefined))
      note({ ...unavailable, count: 0, cause: "no sink took records" });
  };
  if (start !== undefined) {
    const keyVersion = signer && { keyVersion: signer.keyVersion };
    note({ method: "chainStart", outcome: "ok", ...start, ...keyVersion });
  }
  const heads = signer && createHeadSigner({ signer, chain, log, onHead: (head) => note({ ...headOf, head }) });

  return {
    record: (entry) =>
      new Promise((resolve, reject) => {
        add({ entry, resolve, reject });
      }),
    isHealthy: () => !required || queues.some((queue) => queue.state().problem === undefined),
    sinks: () => queues.map((queue) => queue.state()),
    signedAt: () => heads?.signedAt(),
    async reopen() {
      // What is wrong with a sink shows at its next write.
      await Promise.allSettled(queues.map((queue) => queue.reopen()));
    },
    async close() {
      clearTimeout(timer);
      await pump;
      const head = await heads?.close();
      if (start !== undefined) note({ method: "chainEnd", outcome: "ok", ...(head && { head }) });
      await pump;
      await Promise.all(queues.map((queue) => queue.close(closeMs)));
    },
  };
}

/** Begins a chain that names what the sinks' files ended with. @param replica the host name */
export async function openAuditLog({
  replica,
  ...options
}: Omit<AuditLogOptions, "start"> & { readonly replica: string }): Promise<AuditLog> {
  const found = await Promise.all(options.sinks.map(async (sink) => await sink.last?.()));
  const earlier = new Map(found.flatMap((head) => (head === undefined ? [] : [[head.hash, head] as const])));
  return createAuditLog({ ...options, start: { replica, earlier: [...earlier.values()] } });
}
