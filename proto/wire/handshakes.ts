// Why a TLS handshake failed, as a closed set of names: the same in the logs, metrics and audit
// records of both sides, whichever of them refused. OpenSSL's codes are many; what an operator does
// about them is not.

/** What an operator reads, by name. */
const failures = {
  no_certificate: "no certificate was shown",
  certificate_expired: "the certificate has expired",
  certificate_not_yet_valid: "the certificate is not valid yet: one of the two clocks is wrong",
  unknown_ca: "the certificate is of a CA that is not trusted, or its intermediates are missing",
  ca_expired: "a CA in the certificate's chain has expired",
  ca_removed: "the CA of the certificate was removed",
  wrong_name: "the certificate is for another name",
  wrong_purpose: "the certificate is not for this side: its extended key usage is another one",
  certificate_invalid: "the certificate does not verify",
  peer_refused: "the other side refused, probably our certificate",
  peer_left: "the other side left in the middle of the handshake, as one that does not trust our certificate does",
  protocol: "the other side does not speak TLS 1.3",
  timeout: "the handshake took too long",
  closed: "the connection was closed before a handshake",
} as const;

export type HandshakeFailure = keyof typeof failures;

/** Every name. */
export const handshakeFailures = Object.keys(failures) as readonly HandshakeFailure[];

/** A sentence about a failure. */
export function describeHandshakeFailure(failure: HandshakeFailure): string {
  return failures[failure];
}

/** The failure that a peer names in the `claviger-handshake` header; undefined for any other text. */
export function parseHandshakeFailure(text: string | undefined): HandshakeFailure | undefined {
  return handshakeFailures.find((name) => name === text);
}

/** Codes of X509_verify_cert as Node.js spells them, and Node's own. */
const byCode: Readonly<Record<string, HandshakeFailure>> = {
  CERT_HAS_EXPIRED: "certificate_expired",
  CERT_NOT_YET_VALID: "certificate_not_yet_valid",
  UNABLE_TO_GET_ISSUER_CERT: "unknown_ca",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "unknown_ca",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "unknown_ca",
  SELF_SIGNED_CERT_IN_CHAIN: "unknown_ca",
  DEPTH_ZERO_SELF_SIGNED_CERT: "unknown_ca",
  CERT_UNTRUSTED: "unknown_ca",
  INVALID_PURPOSE: "wrong_purpose",
  HOSTNAME_MISMATCH: "wrong_name",
  ERR_TLS_CERT_ALTNAME_INVALID: "wrong_name",
  CERT_SIGNATURE_FAILURE: "certificate_invalid",
  CERT_CHAIN_TOO_LONG: "certificate_invalid",
  CERT_REVOKED: "certificate_invalid",
  INVALID_CA: "certificate_invalid",
  PATH_LENGTH_EXCEEDED: "certificate_invalid",
  CERT_REJECTED: "certificate_invalid",
  UNSPECIFIED: "certificate_invalid",
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: "no_certificate",
  ERR_TLS_HANDSHAKE_TIMEOUT: "timeout",
};

/**
 * The failure behind the code of an error of `node:tls`; undefined for a code that is not of TLS,
 * such as ECONNREFUSED.
 */
export function handshakeFailureOf(code: string): HandshakeFailure | undefined {
  if (Object.hasOwn(byCode, code)) return byCode[code];
  // An alert of the peer's: ERR_SSL_TLSV1_ALERT_UNKNOWN_CA, ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE.
  if (/^ERR_SSL_.*_ALERT_(?!PROTOCOL_VERSION|HANDSHAKE_FAILURE)/.test(code)) return "peer_refused";
  return code.startsWith("ERR_SSL_") ? "protocol" : undefined;
}
