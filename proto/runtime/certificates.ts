// X.509 certificates as both programs read them: PEM bundles, what a certificate may be used for,
// and whose it is. Chains are verified by TLS itself; see gateway/core/src/pki/trust.ts for the
// certificates that TLS does not see.
import { createPrivateKey, X509Certificate } from "node:crypto";

/** The certificates of a PEM bundle, in its order. @throws Error of node:crypto for one that does not parse */
export function splitPem(bundle: string): readonly X509Certificate[] {
  const blocks = bundle.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((pem) => new X509Certificate(pem));
}

/** RFC 5280 section 4.2.1.12 */
const purposes = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2" } as const;

/**
 * May the certificate be shown as that side of a connection? As OpenSSL decides: a certificate
 * without extended key usages may be either, anyExtendedKeyUsage alone makes it neither.
 */
export function isFor(side: keyof typeof purposes, { keyUsage }: X509Certificate): boolean {
  // The types do not say that a certificate may be without; the property is named after RFC 5280's
  // key usage and holds the extended ones.
  const extended = keyUsage as readonly string[] | undefined;
  return extended === undefined || extended.includes(purposes[side]);
}

/** The names of one kind among a certificate's: `URI`, `DNS` or `IP Address`. */
function namesOfKind({ subjectAltName = "" }: X509Certificate, kind: string): readonly string[] {
  return subjectAltName
    .split(", ")
    .filter((name) => name.startsWith(`${kind}:`))
    .map((name) => name.slice(kind.length + 1));
}

/** All names of a certificate, or its subject. At most 256 characters. */
function namesText({ subjectAltName, subject }: X509Certificate): string {
  return (subjectAltName ?? subject ?? "").slice(0, 256);
}

/** Who a certificate says it is, for people: its URI names, or else all its names, or its subject. At most 256 characters. */
export function identityOf(certificate: X509Certificate): string {
  const uris = namesOfKind(certificate, "URI");
  return uris.length > 0 ? uris.join(", ").slice(0, 256) : namesText(certificate);
}

/** The URI name of a node's certificate without its node: the same for all nodes of a cluster; undefined for any other one. */
export function clusterUriOf({ subjectAltName = "" }: X509Certificate): string | undefined {
  return /URI:(spiffe:\/\/[^/, "]+\/cluster\/[^/, "]+)\/node\//.exec(subjectAltName)?.[1];
}

/** Have two lists something in common, or is one of them empty? */
function overlap(a: readonly string[], b: readonly string[]): boolean {
  return a.length === 0 || b.length === 0 || a.some((name) => b.includes(name));
}

/**
 * Is the second one a renewal of the first? The URI names are the same; of DNS names and addresses
 * at least one is.
 */
function isRenewal(before: X509Certificate, after: X509Certificate): boolean {
  const urisOf = (of: X509Certificate): string => namesOfKind(of, "URI").toSorted().join();
  const hostsOf = (of: X509Certificate): readonly string[] => [
    ...namesOfKind(of, "DNS"),
    ...namesOfKind(of, "IP Address"),
  ];
  return urisOf(before) === urisOf(after) && overlap(hostsOf(before), hostsOf(after));
}

/**
 * Why a certificate must not take the place of the one in use: it is of another identity, which a
 * program has from its start to its end. Undefined for a renewal. Both are PEM.
 */
export function problemOfSuccessor(inUse: string, next: string): string | undefined {
  const [before, after] = [splitPem(inUse)[0], splitPem(next)[0]];
  if (before === undefined || after === undefined || isRenewal(before, after)) return undefined;
  return `is of ${namesText(after)}, and in use is that of ${namesText(before)}: restart to change who this is`;
}

/** What is wrong with a CA bundle; undefined when nothing is. An empty one would mean the CAs of the whole web. */
export function problemOfBundle(bundle: string): string | undefined {
  try {
    return splitPem(bundle).length > 0 ? undefined : "holds no certificate (PEM)";
  } catch {
    return "holds a certificate that does not parse";
  }
}

/** What is wrong with a certificate and its key, as a start would find out; undefined when nothing is. */
export function problemOfPair(side: keyof typeof purposes, cert: string, key: string): PairProblem | undefined {
  const problem = problemOfBundle(cert);
  if (problem !== undefined) return { file: "cert", text: problem };
  const [leaf] = splitPem(cert);
  let isOwn: boolean | undefined;
  try {
    isOwn = leaf?.checkPrivateKey(createPrivateKey(key));
  } catch {
    return { file: "key", text: "is not usable: it is no private key (PEM) without a passphrase" };
  }
  if (isOwn !== true) return { file: "key", text: "does not belong to the certificate" };
  if (leaf !== undefined && !isFor(side, leaf))
    return { file: "cert", text: `is not a ${side} certificate: its extended key usage is without ${side}Auth` };
  return undefined;
}

export type PairProblem = { readonly file: "cert" | "key"; readonly text: string };
