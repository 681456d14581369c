// One audit record: what it holds, and how records are chained so that a changed, removed or
// reordered line shows. (docs/architecture.md #audit.)
import { createHash } from "node:crypto";
import type { Reason } from "@claviger/proto/wire/errors.ts";

/**
 * What a request leaves behind. No plaintext, ciphertext or token; a ciphertext only as its
 * SHA-256.
 */
export type AuditEntry = {
  /** Unix milliseconds of the request's arrival */
  readonly at: number;
  readonly method: string;
  readonly outcome: "ok" | "denied" | "invalid" | "failed";
  readonly reason?: Reason;
  readonly milliseconds: number;
  readonly cluster?: string;
  readonly node?: string;
  readonly operator?: string;
  /** Serial number of the client certificate, hexadecimal */
  readonly serial?: string;
  /** Request uids, at most 32, and how many calls the record stands for where that is not one */
  readonly uids?: readonly string[];
  readonly count?: number;
  readonly keyId?: string;
  readonly backend?: string;
  readonly backendRequestId?: string;
  /** Hexadecimal, of the ciphertext that was asked about or made */
  readonly ciphertextSha256?: string;
  readonly peer?: string;
};

/**
 * Where a chain of records stands: its name (one per process), the next number, the hash of the
 * line before.
 */
export type ChainHead = { readonly chain: string; readonly sequence: number; readonly previous: string };

/**
 * The line for an entry, with its newline, and the head after it. Each line carries the SHA-256 of
 * the one before.
 */
export function chainLine(
  head: ChainHead,
  { at, ...entry }: AuditEntry,
): { readonly line: string; readonly head: ChainHead } {
  const text = JSON.stringify({ time: new Date(at).toISOString(), ...entry, ...head });
  const previous = createHash("sha256").update(text).digest("hex");
  return { line: `${text}\n`, head: { ...head, sequence: head.sequence + 1, previous } };
}
