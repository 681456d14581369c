// A certificate authority for one trust domain, and the three kinds of certificate that it issues.
// (docs/architecture.md #identity.) For the demo, the lab, tests and small sites; a fleet with
// SPIRE, cert-manager or Vault PKI issues the same names there.
import { X509Certificate } from "node:crypto";
import {
  type ClusterName,
  clusterName,
  type NodeName,
  nodeName,
  type OperatorName,
  operatorName,
  type TrustDomain,
  trustDomain,
} from "@claviger/proto/wire/names.ts";
import {
  type CertificateRequest,
  certifyRequest,
  createCertificate,
  isKeyOf,
  type KeyPair,
  type SigningRequest,
} from "./x509.ts";

export type { KeyPair };

/**
 * An authority: it issues for its own trust domain only, which stands in its certificate as
 * `spiffe://TRUST-DOMAIN`.
 */
export type Ca = KeyPair & { readonly trustDomain: TrustDomain; readonly notAfter: Date };

const day = 24 * 60 * 60 * 1000;

/**
 * Lifetimes in days. Leaves are short: there is no revocation list, a suspended cluster is
 * suspended in the registry.
 */
export const lifetimes = { ca: 3650, leaf: 90 } as const;

/**
 * Certificates start a little in the past, for the node whose clock is behind; by no more than this share of
 * their life, which is renewed by its share.
 */
const clockSkew = 5 * 60 * 1000;
const skewShare = 0.1;

type Validity = {
  /**
   * Days from now; the defaults are in `lifetimes`. Fractions are allowed: tests want certificates
   * of seconds.
   */
  readonly validity?: number;
  readonly clock?: () => number;
};

function period(
  { validity, clock = Date.now }: Validity,
  fallback: number,
): { readonly notBefore: Date; readonly notAfter: Date } {
  const days = validity ?? fallback;
  if (!(days > 0 && days <= 36_500)) throw new TypeError("a validity must be a number of days above 0, at most 36500");
  const now = clock();
  const skew = Math.min(clockSkew, days * day * skewShare);
  return { notBefore: new Date(now - skew), notAfter: new Date(now + days * day) };
}

/** Makes a new authority. */
export async function createCa({
  trustDomain: domain,
  ...validity
}: Validity & { readonly trustDomain: string }): Promise<Ca> {
  const trust = trustDomain.parse(domain);
  const dates = period(validity, lifetimes.ca);
  const pair = await createCertificate({
    commonName: `${trust} claviger CA`,
    names: { uri: `spiffe://${trust}` },
    use: "ca",
    ...dates,
  });
  return { ...pair, trustDomain: trust, notAfter: dates.notAfter };
}

/**
 * An authority from its certificate and key.
 * @throws TypeError when the pair is not an authority that createCa could have made
 */
export function parseCa({ cert, key }: KeyPair): Ca {
  const certificate = new X509Certificate(cert);
  const [, domain] = /^URI:spiffe:\/\/([^/, "]+)$/.exec(certificate.subjectAltName ?? "") ?? [];
  if (!certificate.ca || !trustDomain.is(domain))
    throw new TypeError("the certificate is not an authority with one SAN URI spiffe://TRUST-DOMAIN");
  if (!isKeyOf(key, certificate.publicKey)) throw new TypeError("the key does not belong to the certificate");
  return { cert, key, trustDomain: domain, notAfter: new Date(certificate.validTo) };
}

/** What a leaf's certificate says. */
function leafOf(
  { ca, ...validity }: Validity & { readonly ca: Ca },
  use: "server" | "client",
  commonName: string,
  path: string,
  names: { readonly dns?: readonly string[]; readonly ips?: readonly string[] } = {},
): CertificateRequest & { readonly issuer: KeyPair } {
  const { notBefore, notAfter } = period(validity, lifetimes.leaf);
  if (ca.notAfter.getTime() <= (validity.clock ?? Date.now)())
    throw new TypeError("the authority has expired; make a new one");
  return {
    commonName,
    names: { ...names, uri: `spiffe://${ca.trustDomain}/${path}` },
    use,
    notBefore,
    // A leaf that outlives its authority would only fail later and less clearly.
    notAfter: notAfter < ca.notAfter ? notAfter : ca.notAfter,
    issuer: ca,
  };
}

function issue(...leaf: Parameters<typeof leafOf>): Promise<KeyPair> {
  return createCertificate(leafOf(...leaf));
}

/**
 * A gateway's server certificate. At least one DNS name or IP address: what shims are configured
 * with.
 */
export async function issueGateway({
  dnsNames = [],
  ips = [],
  ...request
}: Validity & {
  readonly ca: Ca;
  readonly dnsNames?: readonly string[];
  readonly ips?: readonly string[];
}): Promise<KeyPair> {
  const first = dnsNames[0] ?? ips[0];
  if (first === undefined) throw new TypeError("a gateway certificate needs a DNS name or an IP address");
  for (const name of dnsNames)
    if (!/^(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/.test(name))
      throw new TypeError("a DNS name must be labels of letters, digits and '-'");
  return issue(request, "server", first, "gateway", { dns: dnsNames, ips });
}

function nodePath(cluster: ClusterName, node: NodeName): string {
  return `cluster/${cluster}/node/${node}`;
}

/** A node's client certificate: the shim on that machine acts for this cluster and no other. */
export async function issueNode({
  cluster,
  node,
  ...request
}: Validity & { readonly ca: Ca; readonly cluster: string; readonly node: string }): Promise<KeyPair> {
  const [c, n]: readonly [ClusterName, NodeName] = [clusterName.parse(cluster), nodeName.parse(node)];
  return issue(request, "client", `${n} of ${c}`, nodePath(c, n));
}

/** A node's certificate for a key that was made on the node, PEM. What names the request has does not matter. */
export async function certifyNode({
  request,
  cluster,
  node,
  ...leaf
}: Validity & {
  readonly ca: Ca;
  readonly request: SigningRequest;
  readonly cluster: ClusterName;
  readonly node: NodeName;
}): Promise<string> {
  return await certifyRequest(request, leafOf(leaf, "client", `${node} of ${cluster}`, nodePath(cluster, node)));
}

/** An operator's client certificate, for the fleet API. */
export async function issueOperator({
  name,
  ...request
}: Validity & { readonly ca: Ca; readonly name: string }): Promise<KeyPair> {
  const operator: OperatorName = operatorName.parse(name);
  return issue(request, "client", operator, `operator/${operator}`);
}
