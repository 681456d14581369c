// The PEM files of the gateway's listener: read, and held against each other.
import { splitPem } from "@claviger/proto/runtime/certificates.ts";
import { readPemFiles } from "@claviger/proto/runtime/pem-files.ts";
import type { CertificateRole } from "@claviger/proto/runtime/expiry.ts";
import { readVaultTls } from "./backend/vault/tls.ts";
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

/**
 * The certificates of a gateway, for the watch of their expiry.
 * @param inUse the listener's
 */
export function certificateRoles(
  { backends }: Pick<GatewayConfig, "backends">,
  inUse: () => TlsFiles,
): readonly CertificateRole[] {
  const ofBackends = Object.entries(backends).flatMap(([name, backend]): readonly CertificateRole[] => {
    if (backend.kind !== "vault" || backend.tls === undefined) return [];
    const { tls } = backend;
    const read = (file: "ca" | "cert") => () => splitPem(readVaultTls(tls)[file] ?? "");
    return [
      ...(tls.ca === undefined ? [] : [{ role: `backend/${name}/ca`, kind: "authorities", read: read("ca") } as const]),
      ...(tls.cert === undefined
        ? []
        : [{ role: `backend/${name}/client`, kind: "chain", read: read("cert") } as const]),
    ];
  });
  return [
    { role: "server", kind: "chain", read: () => splitPem(inUse().cert) },
    { role: "client_ca", kind: "authorities", read: () => splitPem(inUse().clientCa) },
    ...ofBackends,
  ];
}
