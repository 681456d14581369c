// The PEM files of the gateway's listener: read, and held against each other.
import { readFileSync } from "node:fs";
import { problemOfBundle, problemOfPair, problemOfSuccessor, splitPem } from "@claviger/proto/runtime/certificates.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
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
  const problems: string[] = [];
  const read = (setting: keyof TlsFiles): string | undefined => {
    try {
      return readFileSync(files[setting], "utf8");
    } catch (error) {
      const { code = "unknown error" } = error as NodeJS.ErrnoException;
      problems.push(`${setting}: ${files[setting]} cannot be read (${code})`);
      return undefined;
    }
  };
  const [cert, key, clientCa] = [read("cert"), read("key"), read("clientCa")];
  const bundleProblem = clientCa === undefined ? undefined : problemOfBundle(clientCa);
  if (bundleProblem !== undefined) problems.push(`clientCa: ${files.clientCa} ${bundleProblem}`);
  const pairProblem = cert === undefined || key === undefined ? undefined : problemOfPair("server", cert, key);
  if (pairProblem !== undefined) problems.push(`${pairProblem.file}: ${files[pairProblem.file]} ${pairProblem.text}`);
  const successorProblem =
    inUse === undefined || cert === undefined || pairProblem !== undefined
      ? undefined
      : problemOfSuccessor(inUse.cert, cert);
  if (successorProblem !== undefined) problems.push(`cert: ${files.cert} ${successorProblem}`);
  if (problems.length > 0 || cert === undefined || key === undefined || clientCa === undefined)
    throw new ConfigError("tls", problems);
  return { cert, key, clientCa };
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
