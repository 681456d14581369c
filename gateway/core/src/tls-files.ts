// The PEM files of the gateway's listener: read, and held against each other.
import { readFileSync } from "node:fs";
import { problemOfBundle, problemOfPair } from "@claviger/proto/runtime/certificates.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import type { GatewayConfig } from "./config.ts";

/** PEM texts of the listener's certificate, its key, and the CA that signs clients. */
export type TlsFiles = { readonly cert: string; readonly key: string; readonly clientCa: string };

/** Reads the listener's PEM files. @throws ConfigError with every one that cannot be read or used */
export function readTlsFiles(files: GatewayConfig["tls"]): TlsFiles {
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
  if (problems.length > 0 || cert === undefined || key === undefined || clientCa === undefined)
    throw new ConfigError("tls", problems);
  return { cert, key, clientCa };
}
