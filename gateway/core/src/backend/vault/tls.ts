// The PEM files of a backend's `tls` setting: read, and held against each other.
import { readFileSync } from "node:fs";
import { problemOfBundle, problemOfPair } from "@claviger/proto/runtime/certificates.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import type { VaultConfig } from "../config.ts";

export type VaultTls = { readonly ca?: string; readonly cert?: string; readonly key?: string };

/** @throws ConfigError with every file that cannot be read or used */
export function readVaultTls(tls: VaultConfig["tls"]): VaultTls {
  const problems: string[] = [];
  const read = (setting: keyof VaultTls): string | undefined => {
    const file = tls?.[setting];
    try {
      return file === undefined ? undefined : readFileSync(file, "utf8");
    } catch (error) {
      problems.push(
        `${setting}: ${file ?? ""} cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`,
      );
      return undefined;
    }
  };
  const [ca, cert, key] = [read("ca"), read("cert"), read("key")];
  const bundleProblem = ca === undefined ? undefined : problemOfBundle(ca);
  if (bundleProblem !== undefined) problems.push(`ca: ${tls?.ca ?? ""} ${bundleProblem}`);
  const pairProblem = cert === undefined || key === undefined ? undefined : problemOfPair("client", cert, key);
  if (pairProblem !== undefined)
    problems.push(`${pairProblem.file}: ${tls?.[pairProblem.file] ?? ""} ${pairProblem.text}`);
  if (problems.length > 0) throw new ConfigError("tls", problems);
  return { ...(ca !== undefined && { ca }), ...(cert !== undefined && { cert }), ...(key !== undefined && { key }) };
}
