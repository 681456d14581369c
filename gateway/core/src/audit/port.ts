// The port to where audit records go. Adapters: a file, a syslog collector, and a descriptor such as
// standard output. (docs/architecture.md #audit.)
import type { ChainHead } from "./record.ts";

/** Takes whole lines. */
export interface AuditSink {
  readonly name: string;
  /**
   * Resolves when the bytes are written (with `fsync`: are on the disk). Never called while an
   * earlier call is under way.
   * @throws the system's error
   */
  write(lines: Buffer): Promise<void>;
  /** Opens what it writes to anew, after the writes that are under way. @throws the system's error */
  reopen?(): Promise<void>;
  /** The last record that an earlier process left there; undefined where there is none or nobody can say. */
  last?(): Promise<ChainHead | undefined>;
  close(): Promise<void>;
}
