// One audit record: what it holds, and how records are chained so that a changed, removed or
// reordered line shows. (docs/architecture.md #audit.)
import { createHash } from "node:crypto";
import type { Reason } from "@claviger/proto/wire/errors.ts";

/** What became of one KMS call: of a request that is one, or of one item of a batch. */
export type CallEntry = {
  /** kube-apiserver's uid of the call, at most 64 characters of it */
  readonly uid?: string;
  /** `ok`, `denied` (may not do this), `invalid` (cannot be served), `failed` (could not be served this time) */
  readonly outcome: Outcome;
  /** Of what is not ok: a reason of the error table */
  readonly reason?: Reason;
  /** The key_id that the call was served under, or that was presented by it */
  readonly keyId?: string;
  /** The cluster uid in the presented ciphertext, where that is another cluster's */
  readonly foreignUid?: string;
  /** The backend that was asked */
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
  /**
   * `status`, `encrypt`, `decrypt`, `v1Version`, `v1Encrypt`, `v1Decrypt`, `decryptBatch` or `unknown`; `handshake` (failed
   * ones of a peer), `audit` (a sink misses `count` records)
   */
  readonly method: string;
  /** From the request's headers to this record; of handshakes from the first to the last */
  readonly milliseconds: number;
  /** The cluster of the client certificate, whether or not it is in the registry */
  readonly cluster?: string;
  /** The node of the client certificate */
  readonly node?: string;
  /** The operator of the client certificate */
  readonly operator?: string;
  /** Serial number of the client certificate, hexadecimal */
  readonly serial?: string;
  /** The uids of all its calls */
  readonly uids?: readonly string[];
  /** How many requests, connections or calls the record stands for where that is not one */
  readonly count?: number;
  /** One for each call of a batch, in its order */
  readonly calls?: readonly CallEntry[];
  /** The address that the connection came from */
  readonly peer?: string;
  /** Of failed handshakes: what the TLS library says of them, with how often. Of `audit`: which sink misses records */
  readonly cause?: string;
  /** Of failed handshakes: the names in the certificate that was refused last, at most 256 characters */
  readonly names?: string;
};

/** Where a chain of records stands. */
export type ChainHead = {
  /** The name of the chain: a UUID, one for each process */
  readonly chain: string;
  /** The number of the record in its chain, from 0 */
  readonly sequence: number;
  /** SHA-256 of the line before, hexadecimal; empty for the first */
  readonly previous: string;
};

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
