// The shim's certificate, key and CA: read, held against each other, and who they say we are.
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import type { ShimConfig } from "./config.ts";
import type { ClientTls } from "./upstream.ts";

/** PEM texts, and the SAN URI without its node: the same for all nodes of a cluster. */
export type Credentials = { readonly tls: ClientTls; readonly cluster: string };

/** @throws ConfigError with every file that cannot be read or does not fit */
export function readCredentials({ cert, key, ca, serverName }: ShimConfig["tls"]): Credentials {
  const problems: string[] = [];
  const attempt = <T>(setting: string, file: string, run: () => T): T | undefined => {
    try {
      return run();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      problems.push(
        `tls.${setting}: ${file} ${code === undefined || code.startsWith("ERR_") ? "is not usable" : `cannot be read (${code})`}`,
      );
      return undefined;
    }
  };
  const certText = attempt("cert", cert, () => readFileSync(cert, "utf8"));
  const keyText = attempt("key", key, () => readFileSync(key, "utf8"));
  const caText = attempt("ca", ca, () => readFileSync(ca, "utf8"));
  const certificate = certText === undefined ? undefined : attempt("cert", cert, () => new X509Certificate(certText));
  if (caText !== undefined) attempt("ca", ca, () => new X509Certificate(caText));
  const privateKey = keyText === undefined ? undefined : attempt("key", key, () => createPrivateKey(keyText));
  if (certificate !== undefined && privateKey !== undefined && !certificate.checkPrivateKey(privateKey))
    problems.push(`tls.key: ${key} does not belong to the certificate`);
  if (problems.length > 0 || certText === undefined || keyText === undefined || caText === undefined)
    throw new ConfigError("tls", problems);
  const cluster =
    /URI:(spiffe:\/\/[^/, "]+\/cluster\/[^/, "]+)\/node\//.exec(certificate?.subjectAltName ?? "")?.[1] ?? "unknown";
  return { tls: { cert: certText, key: keyText, ca: caText, serverName }, cluster };
}
