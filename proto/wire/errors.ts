// The one error type and the one table of what can go wrong between an apiserver and a key. Nobody
// else writes a status number. Messages are constants that reach Kubernetes users; causes stay in
// the log.

/**
 * How a reason is answered and remembered. `grpc` and `http` follow the Connect protocol's code
 * table.
 */
export type Row = {
  readonly connect: ConnectCode;
  /** May the same request succeed if it is sent again, here or to another gateway? */
  readonly retryable: boolean;
  /**
   * What the shim makes of it: in an `outage` Status goes on with the last good key_id, `refusal` is
   * passed on at once, `caller` is a bad request and says nothing about the service.
   * (docs/architecture.md #shim.)
   */
  readonly kind: "outage" | "refusal" | "caller";
  /** What the audit record says. */
  readonly outcome: "denied" | "invalid" | "failed";
  /** Shown to users; says what to do next. No name, address or secret in it. */
  readonly message: string;
};

/** The Connect error codes in use: their gRPC number and HTTP status. */
export const connectCodes = {
  canceled: { grpc: 1, http: 499 },
  internal: { grpc: 13, http: 500 },
  invalid_argument: { grpc: 3, http: 400 },
  deadline_exceeded: { grpc: 4, http: 504 },
  not_found: { grpc: 5, http: 404 },
  permission_denied: { grpc: 7, http: 403 },
  resource_exhausted: { grpc: 8, http: 429 },
  failed_precondition: { grpc: 9, http: 400 },
  unimplemented: { grpc: 12, http: 501 },
  unavailable: { grpc: 14, http: 503 },
  unauthenticated: { grpc: 16, http: 401 },
} as const;

export type ConnectCode = keyof typeof connectCodes;

function row(
  connect: ConnectCode,
  kind: Row["kind"],
  retryable: boolean,
  outcome: Row["outcome"],
  message: string,
): Row {
  return {
    connect,
    kind,
    retryable,
    outcome,
    message,
  };
}

/**
 * Every reason. The name travels in the `claviger-reason` header and stands in logs, metrics and
 * audit records.
 */
export const reasons = {
  // Who is asking
  identity_invalid: row(
    "unauthenticated",
    "refusal",
    false,
    "denied",
    "claviger: the client certificate names no node of this fleet; issue one with the SAN URI spiffe://TRUST-DOMAIN/cluster/CLUSTER/node/NODE",
  ),
  issuer_not_allowed: row(
    "permission_denied",
    "refusal",
    false,
    "denied",
    "claviger: this cluster accepts certificates of another CA only; issue the node's certificate there, or change the cluster's issuer in the registry",
  ),
  node_revoked: row(
    "permission_denied",
    "refusal",
    false,
    "denied",
    "claviger: this node or its certificate is revoked; ask the fleet's operators",
  ),
  node_unexpected: row(
    "permission_denied",
    "refusal",
    false,
    "denied",
    "claviger: this cluster has no node of this name; ask the fleet's operators to expect it",
  ),
  cluster_unknown: row(
    "permission_denied",
    "refusal",
    false,
    "denied",
    "claviger: this cluster is not in the registry; ask the fleet's operators to add it",
  ),
  cluster_suspended: row(
    "permission_denied",
    "refusal",
    false,
    "denied",
    "claviger: this cluster is suspended; ask the fleet's operators to resume it",
  ),
  cluster_decrypt_only: row(
    "failed_precondition",
    "refusal",
    false,
    "denied",
    "claviger: this cluster may only decrypt; ask the fleet's operators to make it active",
  ),
  cluster_not_served: row(
    "unavailable",
    "outage",
    true,
    "denied",
    "claviger: this gateway serves other clusters; try one of the cluster's own, or ask the fleet's operators which those are",
  ),
  role_missing: row(
    "permission_denied",
    "refusal",
    false,
    "denied",
    "claviger: this operator's role does not allow that",
  ),
  // What is asked
  request_malformed: row("invalid_argument", "caller", false, "invalid", "claviger: the request is malformed"),
  request_too_large: row(
    "resource_exhausted",
    "caller",
    false,
    "invalid",
    "claviger: the request is larger than KMS allows",
  ),
  ciphertext_invalid: row(
    "invalid_argument",
    "caller",
    false,
    "invalid",
    "claviger: this ciphertext cannot be decrypted for this cluster",
  ),
  method_unknown: row(
    "unimplemented",
    "caller",
    false,
    "invalid",
    "claviger: no such method; upgrade the gateway or the caller",
  ),
  canceled: row("canceled", "caller", false, "failed", "claviger: the caller went away"),
  // The key
  key_missing: row(
    "not_found",
    "refusal",
    false,
    "failed",
    "claviger: the key or the key version is gone; ask the fleet's operators",
  ),
  key_unpinned: row(
    "failed_precondition",
    "refusal",
    false,
    "failed",
    "claviger: no key version is promoted yet; an operator pins it with 'claviger key promote CLUSTER'",
  ),
  key_unusable: row(
    "failed_precondition",
    "refusal",
    false,
    "failed",
    "claviger: this key cannot encrypt (deleted, or of another type); ask the fleet's operators, the gateway's log says what it is",
  ),
  key_rolled_back: row(
    "unavailable",
    "outage",
    true,
    "failed",
    "claviger: the key went back to an older version (backend restored from a backup?); an operator runs 'claviger key rotate CLUSTER --above LOST', with the version that the gateway's log names as lost",
  ),
  backend_denied: row(
    "permission_denied",
    "refusal",
    false,
    "failed",
    "claviger: the key backend refused the gateway; ask the fleet's operators to check its policy",
  ),
  // The way there
  backend_login_refused: row(
    "unavailable",
    "outage",
    true,
    "failed",
    "claviger: the key backend refuses the gateway's login; ask the fleet's operators to check its credentials",
  ),
  backend_unavailable: row(
    "unavailable",
    "outage",
    true,
    "failed",
    "claviger: the key backend cannot be reached; it is tried again",
  ),
  backend_sealed: row(
    "unavailable",
    "outage",
    true,
    "failed",
    "claviger: the key backend is sealed; ask the fleet's operators to unseal it",
  ),
  backend_rate_limited: row(
    "resource_exhausted",
    "outage",
    true,
    "failed",
    "claviger: the key backend limits the rate; try again later",
  ),
  backend_protocol_error: row(
    "internal",
    "outage",
    true,
    "failed",
    "claviger: the key backend gave an answer that was not accepted",
  ),
  gateway_unavailable: row(
    "unavailable",
    "outage",
    true,
    "failed",
    "claviger: no gateway can be reached; it is tried again",
  ),
  gateway_behind: row(
    "unavailable",
    "outage",
    true,
    "failed",
    "claviger: this gateway has not yet seen the newest key version; try another",
  ),
  gateway_draining: row(
    "unavailable",
    "outage",
    true,
    "failed",
    "claviger: this gateway is shutting down; try another",
  ),
  audit_unavailable: row(
    "unavailable",
    "outage",
    true,
    "failed",
    "claviger: no audit sink took the record, so the result is withheld; ask the fleet's operators",
  ),
  overloaded: row("resource_exhausted", "outage", true, "failed", "claviger: too many requests wait; try again later"),
  deadline_exceeded: row("deadline_exceeded", "outage", true, "failed", "claviger: there was no time left to answer"),
  internal: row(
    "internal",
    "outage",
    true,
    "failed",
    "claviger: internal error; the log of the component has the cause",
  ),
} as const satisfies Record<string, Row>;

export type Reason = keyof typeof reasons;

/** Is this text a row of the table? */
export function isReason(text: string): text is Reason {
  return Object.hasOwn(reasons, text);
}

/** Reasons that had another name in 0.1.0. */
const earlierNames: Readonly<Record<string, Reason>> = { backend_misbehaved: "backend_protocol_error" };

/** The reason that a peer names, of this release or of 0.1.0; undefined for any other text. */
export function parseReason(text: string | undefined): Reason | undefined {
  if (text === undefined) return undefined;
  return isReason(text) ? text : Object.hasOwn(earlierNames, text) ? earlierNames[text] : undefined;
}

/** The row of a reason. */
export function rowOf(reason: Reason): Row {
  return reasons[reason];
}

/**
 * The world's fault, wrapped once at the adapter that met it. `message` is the table's constant;
 * `cause` is for the log.
 */
export class KmsError extends Error {
  override readonly name = "KmsError";
  readonly reason: Reason;
  /** When trying again makes sense, in milliseconds from now; only where the far side said so. */
  readonly retryAfterMs: number | undefined;

  constructor(reason: Reason, options: { readonly cause?: unknown; readonly retryAfterMs?: number } = {}) {
    super(rowOf(reason).message, "cause" in options ? { cause: options.cause } : undefined);
    this.reason = reason;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Anything thrown, as a KmsError: what is not one already is `internal` with that cause. */
export function toKmsError(thrown: unknown): KmsError {
  return thrown instanceof KmsError ? thrown : new KmsError("internal", { cause: thrown });
}
