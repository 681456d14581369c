// The shim's certificate, key and CA: read, held against each other, and who they say we are.
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { problemOfBundle, problemOfPair } from "@claviger/proto/runtime/certificates.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import type { ShimConfig } from "./config.ts";
import type { ClientTls } from "./gateway.ts";

/** PEM texts, and the SAN URI without its node: the same for all nodes of a cluster. */
export type Credentials = { readonly tls: ClientTls; readonly cluster: string };

/** @throws ConfigError with every file that cannot be read or does not fit */
export function readCredentials({ serverName, serverIdentities, ...files }: ShimConfig["tls"]): Credentials {
  const problems: string[] = [];
  const read = (setting: keyof typeof files): string | undefined => {
    try {
      return readFileSync(files[setting], "utf8");
    } catch (error) {
      const { code = "unknown error" } = error as NodeJS.ErrnoException;
      problems.push(`tls.${setting}: ${files[setting]} cannot be read (${code})`);
      return undefined;
    }
  };
  const [cert, key, ca] = [read("cert"), read("key"), read("ca")];
  const bundleProblem = ca === undefined ? undefined : problemOfBundle(ca);
  if (bundleProblem !== undefined) problems.push(`tls.ca: ${files.ca} ${bundleProblem}`);
  const pairProblem = cert === undefined || key === undefined ? undefined : problemOfPair("client", cert, key);
  if (pairProblem !== undefined)
    problems.push(`tls.${pairProblem.file}: ${files[pairProblem.file]} ${pairProblem.text}`);
  if (problems.length > 0 || cert === undefined || key === undefined || ca === undefined)
    throw new ConfigError("tls", problems);
  const { subjectAltName } = new X509Certificate(cert);
  const cluster = /URI:(spiffe:\/\/[^/, "]+\/cluster\/[^/, "]+)\/node\//.exec(subjectAltName ?? "")?.[1] ?? "unknown";
  return { tls: { cert, key, ca, serverName, serverIdentities }, cluster };
}
