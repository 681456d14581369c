// The wire between shim and gateway: paths, headers and sizes. Connect unary over HTTPS.
// (docs/architecture.md #wire.)

/** The methods that a gateway serves on its main listener: HTTP path by name. */
export const methods = {
  status: "/v2.KeyManagementService/Status",
  encrypt: "/v2.KeyManagementService/Encrypt",
  decrypt: "/v2.KeyManagementService/Decrypt",
  v1Version: "/v1beta1.KeyManagementService/Version",
  v1Encrypt: "/v1beta1.KeyManagementService/Encrypt",
  v1Decrypt: "/v1beta1.KeyManagementService/Decrypt",
  decryptBatch: "/claviger.relay.v1.RelayService/DecryptBatch",
  encryptBatch: "/claviger.relay.v1.RelayService/EncryptBatch",
} as const;

export type Method = keyof typeof methods;

/** On the gateway's main listener, GET: 200 while it serves. Shims look there after a failure. */
export const livezPath = "/livez";

export const contentTypes = { proto: "application/proto", json: "application/json" } as const;

/** Header names, lower case as Node gives them. */
export const headers = {
  /** Milliseconds that the caller will wait, 1..10 digits. */
  timeout: "connect-timeout-ms",
  protocolVersion: "connect-protocol-version",
  traceparent: "traceparent",
  /** How far the sender has seen the cluster's keys advance; see epoch.ts. Both ways. */
  epoch: "claviger-epoch",
  /** The HMAC of the epoch under the gateways' integrity key: base64url. Both ways; a shim passes it on. */
  epochMac: "claviger-epoch-mac",
  /**
   * On a Status: the gateway has had no fresh word from its key backend since then; Unix
   * milliseconds.
   */
  staleSince: "claviger-stale-since",
  /** The same as an age in milliseconds: two machines need not agree on the time. Counts before the other. */
  staleFor: "claviger-stale-for",
  /** On the request of a Status: what the shim says of itself; see shim-report.ts. */
  shim: "claviger-shim",
  /** On an error: the row of the error table. */
  reason: "claviger-reason",
  /**
   * On the answer to a connection whose client certificate is not accepted: why; a name of
   * handshakes.ts. The one thing that such a peer is told.
   */
  handshake: "claviger-handshake",
} as const;

/**
 * Sizes in bytes, all inclusive. (docs/kms-contract.md section 1.2; Kubernetes enforces the first
 * four.)
 */
export const limits = {
  ciphertext: 1024,
  keyId: 1024,
  annotations: 32_768,
  v1Cipher: 65_535,
  /** The largest plaintext that fits two wraps into `ciphertext`. kube-apiserver sends 32. */
  plaintext: 128,
  /** A uid longer than this is cut in logs and audit records. */
  uid: 64,
  /** A request message of a single call. */
  message: 128 * 1024,
  /** A request message in JSON, which is decoded by way of strings. */
  jsonMessage: 8 * 1024,
  /** Fields of a request message: those that Kubernetes knows, and some that it may add. */
  messageFields: 16,
  /** A request of a batch. */
  batchMessage: 1024 * 1024,
  batchItems: 64,
  /** sun_path without its NUL. */
  socketPath: 107,
} as const;

/** What KMS v2 calls itself in Status.version. */
export const kmsVersion = "v2";
/** What KMS v1 calls itself in VersionResponse.version. */
export const kmsVersionV1 = "v1beta1";
