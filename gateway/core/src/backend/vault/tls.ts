// The PEM files of a backend's `tls` setting.
import { readPemFiles } from "@claviger/proto/runtime/pem-files.ts";
import type { VaultConfig } from "../config.ts";

export type VaultTls = { readonly ca?: string; readonly cert?: string; readonly key?: string };

/** @throws ConfigError with every file that cannot be read or used */
export function readVaultTls(tls: VaultConfig["tls"] = {}): VaultTls {
  return readPemFiles(tls as VaultTls, { side: "client" });
}
