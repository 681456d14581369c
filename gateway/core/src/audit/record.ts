// One audit record: what it holds, and how records are chained so that a changed, removed or
// reordered line shows. (docs/architecture.md #audit.)
import { createHash } from "node:crypto";
import type { Reason } from "@claviger/proto/wire/errors.ts";

/** What became of one KMS call: of a request that is one, or of one item of a batch. */
export type CallEntry = {
  /** kube-apiserver's uid of the call, at most 64 characters of it */
  readonly uid?: string;
  readonly outcome: Outcome;
  readonly reason?: Reason;
  /** The key_id that the call was served under, or that was presented by it */
  readonly keyId?: string;
  /** The cluster uid in the presented ciphertext, where that is another cluster's */
  readonly foreignUid?: string;
  readonly backend?: string;
  /** The key backend's own id of the call that served it */
  readonly backendRequestId?: string;
  /** Hexadecimal, of the ciphertext that was presented or made */
  readonly ciphertextSha256?: string;
};

export type Outcome = "ok" | "denied" | "invalid" | "failed";

/**
 * What a request leaves behind. No plaintext, ciphertext or token; a ciphertext only as its SHA-256.
 * A request of one call holds that call's fields itself; a batch holds an entry for each in `calls`.
 */
export type AuditEntry = Omit<CallEntry, "uid"> & {
  /** Unix milliseconds of the request's arrival */
  readonly at: number;
  readonly method: string;
  readonly milliseconds: number;
  readonly cluster?: string;
  readonly node?: string;
  readonly operator?: string;
  /** Serial number of the client certificate, hexadecimal */
  readonly serial?: string;
  /** The uids of all its calls */
  readonly uids?: readonly string[];
  /** How many requests, connections or calls the record stands for where that is not one */
  readonly count?: number;
  /** One for each call of a batch, in its order */
  readonly calls?: readonly CallEntry[];
  readonly peer?: string;
  /** Of failed handshakes: what the TLS library says of them, with how often */
  readonly cause?: string;
  /** Of failed handshakes: the names in the certificate that was refused last, at most 256 characters */
  readonly names?: string;
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
