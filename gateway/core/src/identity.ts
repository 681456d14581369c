// Who is asking: read from the client certificate and from nowhere else. (docs/architecture.md
// #identity.)
import type { X509Certificate } from "node:crypto";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import {
  type ClusterName,
  clusterName,
  type NodeName,
  nodeName,
  type OperatorName,
  operatorName,
  type TrustDomain,
} from "@claviger/proto/wire/names.ts";

/** A node of a cluster, as its certificate says. */
export type NodeIdentity = { readonly kind: "node"; readonly cluster: ClusterName; readonly node: NodeName };
/** A person or pipeline that runs the fleet. */
export type OperatorIdentity = { readonly kind: "operator"; readonly operator: OperatorName };

export type Identity = (NodeIdentity | OperatorIdentity) & {
  /** Serial number of the certificate, upper-case hexadecimal. */
  readonly serial: string;
  /** Unix milliseconds. */
  readonly notBefore: number;
  /** Unix milliseconds: a connection may outlive its certificate, a request may not. */
  readonly notAfter: number;
  /**
   * The client CAs that signed the certificate, directly or through one another, as a registry names
   * them (`sha256:...`, `spki-sha256:...`); absent where TLS alone saw the intermediates.
   */
  readonly issuers?: readonly string[];
};

const ours = /^spiffe:\/\/([^/]+)\/(?:cluster\/([^/]+)\/node\/([^/]+)|operator\/([^/]+))$/;

function invalid(why: string): KmsError {
  return new KmsError("identity_invalid", { cause: new Error(why) });
}

/**
 * The one URI among a certificate's names.
 * @throws KmsError identity_invalid: none, or more than one
 */
export function readUri(certificate: X509Certificate): string {
  const names = certificate.subjectAltName ?? "";
  // Node quotes a name that could be taken for two; no name of ours needs it.
  if (names.includes('"')) throw invalid("a subject alternative name with special characters");
  const uris = names.split(", ").filter((name) => name.startsWith("URI:"));
  if (uris.length !== 1) throw invalid(`${uris.length} URI names, 1 is needed`);
  return uris[0]?.slice("URI:".length) ?? "";
}

/**
 * The identity in a certificate that has already been verified.
 * @throws KmsError identity_invalid: no URI SAN, more than one, a foreign trust domain, or a path
 * that is not ours
 */
export function readIdentity(certificate: X509Certificate, trustDomain: TrustDomain): Identity {
  const [, domain, cluster, node, operator] = ours.exec(readUri(certificate)) ?? [];
  if (domain === undefined) throw invalid("a URI name of another form");
  if (domain !== trustDomain) throw invalid("a foreign trust domain");
  const common = {
    serial: certificate.serialNumber,
    notBefore: Date.parse(certificate.validFrom),
    notAfter: Date.parse(certificate.validTo),
  };
  if (clusterName.is(cluster) && nodeName.is(node)) return { kind: "node", cluster, node, ...common };
  if (operatorName.is(operator)) return { kind: "operator", operator, ...common };
  throw invalid("a cluster, node or operator name that breaks the rules");
}
