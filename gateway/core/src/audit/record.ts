// One audit record: what it holds. (docs/architecture.md #audit.)
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

/** Runs of numbers, each as its first and its last. */
export type Runs = readonly (readonly [number, number])[];

export type Outcome = "ok" | "denied" | "invalid" | "failed";

/**
 * What a request leaves behind. No plaintext, ciphertext or token; a ciphertext only as its SHA-256.
 * A request of one call holds that call's fields itself; a batch holds an entry for each in `calls`.
 */
export type AuditEntry = Omit<CallEntry, "uid"> & {
  /** Unix milliseconds of the request's arrival */
  readonly at: number;
  /**
   * `status`, `encrypt`, `decrypt`, `v1Version`, `v1Encrypt`, `v1Decrypt`, `decryptBatch`, `encryptBatch` or `unknown`; `handshake` (failed
   * ones of a peer), `audit` (a sink misses `count` records), `chainStart`, `chainHead` and `chainEnd` (of the chain itself);
   * of the control plane the methods of FleetService, and of its console `consoleLogin` and `consoleLogout`
   */
  readonly method: string;
  /** From the request's headers to this record; of handshakes from the first to the last */
  readonly milliseconds: number;
  /** The cluster of the client certificate, whether or not it is in the registry */
  readonly cluster?: string;
  /** The node of the client certificate */
  readonly node?: string;
  /** The operator of the client certificate; `oidc:ISSUER:NAME` for one who came with a token */
  readonly operator?: string;
  /** Serial number of the client certificate, hexadecimal */
  readonly serial?: string;
  /** The uids of all its calls */
  readonly uids?: readonly string[];
  /** How many requests, connections or calls the record stands for where that is not one; of a stream that has ended: how many messages it had */
  readonly count?: number;
  /** One for each call of a batch, in its order */
  readonly calls?: readonly CallEntry[];
  /** The address that the connection came from */
  readonly peer?: string;
  /** Of a call of the control plane: the cluster, or CLUSTER/NODE, that it is about */
  readonly target?: string;
  /** Of a change: the reason that the operator gave */
  readonly because?: string;
  /** Of a change that takes a second administrator: the id of the approval */
  readonly approval?: string;
  /** Of `approveChange` and `rejectChange`: the operator who asked for the change, which `operator` decided */
  readonly requestedBy?: string;
  /** Of `approveChange` and `rejectChange`: the method that was asked for */
  readonly change?: string;
  /**
   * Of failed handshakes: what the TLS library says of them, with how often. Of `audit`: which sink misses records. Of a
   * call of the control plane that was refused: why. Of a stream: `begins`, and in a second record how it ended
   */
  readonly cause?: string;
  /** Of failed handshakes: the names in the certificate that was refused last, at most 256 characters */
  readonly names?: string;
  /** Of `audit`: the numbers that the sink misses, the first and the last of each run */
  readonly missing?: Runs;
  /** Of `chainStart`: the host name of the gateway */
  readonly replica?: string;
  /** Of `chainStart`: the version of the integrity key that the chain's key is derived from */
  readonly keyVersion?: number;
  /** Of `chainStart`: the last record in the file of each sink, as the process found it */
  readonly earlier?: readonly ChainHead[];
  /** Of `chainHead` and `chainEnd`: an earlier record of the chain, signed by Vault with all that comes before it */
  readonly head?: SignedHead;
};

/** Where a record stands in its chain. */
export type ChainPlace = {
  /** The name of the chain: a UUID, one for each process */
  readonly chain: string;
  /** The number of the record in its chain, from 0 */
  readonly sequence: number;
  /** SHA-256 of the line before, without its newline, hexadecimal; empty for the first */
  readonly previous: string;
  /**
   * HMAC-SHA-256 of the line up to this field (and the closing brace), hexadecimal, under a key that is derived from the
   * fleet's integrity key. Absent while that key is not known
   */
  readonly mac?: string;
};

/** The last record of a chain, as a later record names it. */
export type ChainHead = {
  /** The name of the chain */
  readonly chain: string;
  /** The number of the record */
  readonly sequence: number;
  /** SHA-256 of its line, hexadecimal */
  readonly hash: string;
};

/** A head that Vault has signed. */
export type SignedHead = ChainHead & {
  /** The version of the integrity key that it is signed under */
  readonly keyVersion: number;
  /** Vault's HMAC of the head under the integrity key, hexadecimal */
  readonly signature: string;
};
