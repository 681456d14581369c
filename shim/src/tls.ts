// The shim's certificate, key and CA: read, held against each other, and who they say we are.
import { X509Certificate } from "node:crypto";
import { clusterUriOf, splitPem } from "@claviger/proto/runtime/certificates.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import type { CertificateRole } from "@claviger/proto/runtime/expiry.ts";
import { readPemFiles } from "@claviger/proto/runtime/pem-files.ts";
import type { ShimConfig } from "./config.ts";
import type { ClientTls } from "./gateway.ts";

/** PEM texts, and the SAN URI without its node: the same for all nodes of a cluster. */
export type Credentials = { readonly tls: ClientTls; readonly cluster: string };

/**
 * @param inUse what the files are to replace: a certificate of another identity is refused
 * @throws ConfigError with every file that cannot be read or does not fit
 */
export function readCredentials(
  { serverName, serverIdentities, ...files }: ShimConfig["tls"],
  inUse?: ClientTls,
): Credentials {
  const { cert, key, ca } = readPemFiles(files, { side: "client", at: "tls.", inUse: inUse?.cert });
  const cluster = clusterUriOf(new X509Certificate(cert));
  if (cluster === undefined)
    throw new ConfigError("tls", [
      `tls.cert: ${files.cert} names no node; it needs the URI name spiffe://TRUST-DOMAIN/cluster/CLUSTER/node/NODE`,
    ]);
  // The key may stand in the same file: it goes where a key goes, and nowhere else.
  const chain = splitPem(cert).map(String).join("");
  return { tls: { cert: chain, key, ca, serverName, serverIdentities }, cluster };
}

/** Who this is by its certificate, which readCredentials has looked at. */
export function nodeOf({ cert }: Pick<ClientTls, "cert">): { readonly cluster: string; readonly node: string } {
  const [, cluster = "", node = ""] =
    /\/cluster\/([^/]+)\/node\/([^/,]+)/.exec(splitPem(cert)[0]?.subjectAltName ?? "") ?? [];
  return { cluster, node };
}

/** The certificates of a shim, for the watch of their expiry. */
export function certificateRoles(inUse: () => ClientTls): readonly CertificateRole[] {
  return [
    { role: "client", kind: "chain", read: () => splitPem(inUse().cert) },
    { role: "gateway_ca", kind: "authorities", read: () => splitPem(inUse().ca) },
  ];
}
