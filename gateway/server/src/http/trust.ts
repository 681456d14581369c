// Is a certificate signed by one of a bundle? For certificates that TLS has not just verified: those
// of open connections after a change of the bundle, and those that a proxy passes on.
import { X509Certificate } from "node:crypto";

/** The certificates of a PEM bundle, in its order. @throws Error of node:crypto for one that does not parse */
export function splitPem(bundle: string): readonly X509Certificate[] {
  const blocks = bundle.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((pem) => new X509Certificate(pem));
}

/** The longest chain from a leaf to an authority that is trusted. */
const maxDepth = 8;

/**
 * Does the certificate, or an intermediate that its peer sent, verify under one of the authorities?
 * Says nothing of validity in time.
 */
export function isIssuedBy(certificate: X509Certificate, authorities: readonly X509Certificate[]): boolean {
  let current: X509Certificate | undefined = certificate;
  for (let depth = 0; current !== undefined && depth < maxDepth; depth++) {
    const leaf: X509Certificate = current;
    if (authorities.some((authority) => leaf.checkIssued(authority) && leaf.verify(authority.publicKey))) return true;
    const issuer: X509Certificate | undefined = leaf.issuerCertificate;
    const isNext = issuer !== undefined && issuer.fingerprint256 !== leaf.fingerprint256;
    current = isNext && leaf.checkIssued(issuer) && leaf.verify(issuer.publicKey) ? issuer : undefined;
  }
  return false;
}
