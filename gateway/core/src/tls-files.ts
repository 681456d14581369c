// The PEM files of the gateway's listener: read, and held against each other; and every certificate
// that a gateway uses.
import { readFileSync } from "node:fs";
import { splitPem } from "@claviger/proto/runtime/certificates.ts";
import { readPemFiles } from "@claviger/proto/runtime/pem-files.ts";
import type { CertificateRole } from "@claviger/proto/runtime/expiry.ts";
import type { GatewayConfig } from "./config.ts";

/** PEM texts of the listener's certificate, its key, and the CA that signs clients. */
export type TlsFiles = { readonly cert: string; readonly key: string; readonly clientCa: string };

/**
 * Reads the listener's PEM files.
 * @param inUse what they are to replace: a certificate of another identity is refused
 * @throws ConfigError with every one that cannot be read or used
 */
export function readTlsFiles(files: GatewayConfig["tls"], inUse?: TlsFiles): TlsFiles {
  return readPemFiles(files, { side: "server", inUse: inUse?.cert });
}

type Tls = { readonly ca?: string | undefined; readonly cert?: string | undefined };

/** The CA that a far end is verified against, and the certificate that it is shown. */
function rolesOf(name: string, { ca, cert }: Tls): readonly CertificateRole[] {
  const read = (file: string) => () => splitPem(readFileSync(file, "utf8"));
  return [
    ...(ca === undefined ? [] : [{ role: `${name}/ca`, kind: "authorities", read: read(ca) } as const]),
    ...(cert === undefined ? [] : [{ role: `${name}/client`, kind: "chain", read: read(cert) } as const]),
  ];
}

/** Those of the listener. @param inUse the files in use */
export function listenerRoles(inUse: () => TlsFiles): readonly CertificateRole[] {
  return [
    { role: "server", kind: "chain", read: () => splitPem(inUse().cert) },
    { role: "client_ca", kind: "authorities", read: () => splitPem(inUse().clientCa) },
  ];
}

/** Those that a gateway shows to what it depends on, and the CAs that it verifies that by: as their files are now. */
export function dependencyRoles({
  backends,
  redis,
  audit,
}: Pick<GatewayConfig, "backends" | "redis" | "audit">): readonly CertificateRole[] {
  return [
    ...Object.entries(backends).flatMap(([name, backend]) =>
      backend.kind === "vault" ? rolesOf(`backend/${name}`, backend.tls ?? {}) : [],
    ),
    ...rolesOf("redis", redis?.tls ?? {}),
    ...audit.sinks.flatMap((sink, i) => (sink.kind === "syslog" ? rolesOf(`audit/${i}`, sink) : [])),
  ];
}

/**
 * Every certificate of a gateway, for the watch of their expiry.
 * @param inUse the listener's
 */
export function certificateRoles(
  config: Pick<GatewayConfig, "backends" | "redis" | "audit">,
  inUse: () => TlsFiles,
): readonly CertificateRole[] {
  return [...listenerRoles(inUse), ...dependencyRoles(config)];
}
