// An audit sink in memory that can be held up and broken, for unit tests of what stands above the
// port. It keeps the contract in test/contracts/audit-sink.ts.
import { readLine } from "@claviger/gateway-core/src/audit/chain.ts";
import type { AuditSink } from "@claviger/gateway-core/src/audit/port.ts";

export type FakeSink<Line> = AuditSink & {
  /** What it has taken, without newlines. */
  readonly lines: string[];
  /** The same, parsed. */
  readonly records: Line[];
  /** Runs before each write; may wait or throw, and then nothing is taken. */
  before: () => Promise<void> | void;
  last(): ReturnType<NonNullable<AuditSink["last"]>>;
};

export function createFakeSink<Line>(name = "memory"): FakeSink<Line> {
  let isWriting = false;
  const fake: FakeSink<Line> = {
    name,
    lines: [],
    records: [],
    before: () => {},
    async write(bytes) {
      if (isWriting) throw new TypeError("a sink is written to by one call at a time");
      isWriting = true;
      try {
        // Taken at once where there is nothing to wait for, so that tests with a fake clock see it.
        const wait = fake.before();
        if (wait !== undefined) await wait;
        for (const line of bytes.toString().trimEnd().split("\n")) {
          fake.lines.push(line);
          fake.records.push(JSON.parse(line) as Line);
        }
      } finally {
        isWriting = false;
      }
    },
    last() {
      const line = readLine(Buffer.from(fake.lines.at(-1) ?? ""));
      return Promise.resolve(
        typeof line === "object"
          ? { chain: line.record.chain, sequence: line.record.sequence, hash: line.hash }
          : undefined,
      );
    },
    close: () => Promise.resolve(),
  };
  return fake;
}

/** A system's error, as a full disk gives it. */
export function fullDisk(): never {
  throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
}
