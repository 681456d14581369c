// Who signed a certificate: the path from it to one of the client CAs. For what TLS does not say or
// has not just verified: the issuers of a client, open connections after a change of the client
// CAs, and certificates that a proxy passes on. Path lengths and name constraints are TLS's. Of the
// intermediates that a client sends along, a server of node:tls sees nothing.
import { constants, type X509Certificate } from "node:crypto";
import { certificatePin, publicKeyPin } from "@claviger/proto/runtime/pins.ts";

/** A certificate, those of its issuers that are needed, and one of the CAs, in this order. */
export type Path = readonly X509Certificate[];

/** The longest path from a leaf to a CA that is trusted. */
const maxDepth = 8;
/** Of the certificates that a peer sends. */
const maxSent = 16;
/** Signatures that are verified for one certificate: intermediates that sign each other end here. */
const maxSignatures = 64;

/** Is every certificate of a path valid at this time (Unix milliseconds)? */
export function isValidAt(path: Path, at: number): boolean {
  return path.every(({ validFrom, validTo }) => Date.parse(validFrom) <= at && at <= Date.parse(validTo));
}

/** When the first certificate of a path expires; Unix milliseconds. */
export function expiryOf(path: Path): number {
  return Math.min(...path.map(({ validTo }) => Date.parse(validTo)));
}

/**
 * A path whose signatures verify, and which is valid now where there is one that is; undefined when
 * no CA signed the certificate.
 * @param sent intermediates, in any order
 */
export function findPath(
  certificate: X509Certificate,
  authorities: readonly X509Certificate[],
  sent: readonly X509Certificate[] = [],
): Path | undefined {
  const now = Date.now();
  let signatures = 0;
  const isSignedBy = (signed: X509Certificate, issuer: X509Certificate): boolean => {
    if (!signed.checkIssued(issuer) || signatures >= maxSignatures) return false;
    signatures += 1;
    return signed.verify(issuer.publicKey);
  };
  let expired: Path | undefined;
  const walk = (path: Path): Path | undefined => {
    const last = path.at(-1);
    if (last === undefined || path.length > maxDepth) return undefined;
    for (const authority of authorities) {
      if (!isSignedBy(last, authority)) continue;
      const found = [...path, authority];
      if (isValidAt(found, now)) return found;
      expired ??= found;
    }
    for (const next of sent.slice(0, maxSent)) {
      if (!next.ca || path.some(({ raw }) => raw.equals(next.raw)) || !isSignedBy(last, next)) continue;
      const found = walk([...path, next]);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return walk([certificate]) ?? expired;
}

/** X509_CERT_AUX: trusted for clientAuth (1.3.6.1.5.5.7.3.2). */
const trustedForClients = Buffer.from("300c300a06082b06010505070302", "hex");

function isExpired({ validTo }: X509Certificate): boolean {
  return Date.parse(validTo) < Date.now();
}

function toPem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/**
 * The client CAs as OpenSSL trusts them even where they are intermediates, as Go and curl do:
 * "trusted certificates" of `openssl x509 -addtrust clientAuth`. (A server of node:tls has no
 * allowPartialTrustChain.) One that has expired is left without that trust: OpenSSL does not look
 * at the dates of an intermediate that it trusts.
 */
export function asTrustAnchors(authorities: readonly X509Certificate[]): string {
  return authorities
    .map((authority) =>
      isExpired(authority)
        ? toPem("CERTIFICATE", authority.raw)
        : toPem("TRUSTED CERTIFICATE", Buffer.concat([authority.raw, trustedForClients])),
    )
    .join("");
}

/** TLS of a listener with client certificates. No session tickets: a resumed session would not be held against a changed client CA. */
export function listenerTls(
  { cert, key }: { readonly cert: string; readonly key: string },
  authorities: readonly X509Certificate[],
) {
  const ca = asTrustAnchors(authorities);
  return { cert, key, ca, minVersion: "TLSv1.3", secureOptions: constants.SSL_OP_NO_TICKET } as const;
}

/** When asTrustAnchors would give something else: the next expiry of a CA, Unix milliseconds. */
export function anchorsUntil(authorities: readonly X509Certificate[]): number {
  return Math.min(
    ...authorities.filter((authority) => !isExpired(authority)).map(({ validTo }) => Date.parse(validTo)),
  );
}

/** The issuers on a path as a registry names them, and those of the CAs that signed its last one in turn. */
export function issuersOf([, ...issuers]: Path, authorities: readonly X509Certificate[]): readonly string[] {
  const all = [...issuers];
  for (let last = all.at(-1); last !== undefined && all.length < maxDepth; ) {
    const signed: X509Certificate = last;
    last = authorities.find(
      (authority) =>
        all.every(({ raw }) => !raw.equals(authority.raw)) &&
        signed.checkIssued(authority) &&
        signed.verify(authority.publicKey),
    );
    if (last !== undefined) all.push(last);
  }
  return all.flatMap((issuer) => [certificatePin(issuer), publicKeyPin(issuer)]);
}
