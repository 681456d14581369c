// Opens a configured backend.
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { backendName } from "@claviger/proto/wire/names.ts";
import type { Secret } from "@claviger/proto/runtime/secret.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { BackendConfig } from "./config.ts";
import { openEmbeddedBackend } from "./embedded.ts";
import type { OpenBackend } from "./port.ts";
import { openVaultBackend } from "./vault/adapter.ts";

/**
 * Never fails because a Vault is away: it is waited for in the background.
 * @param token of who opens it, instead of the configured login
 * @throws ConfigError when the configuration cannot work, e.g. a TLS file or the key file is not
 * readable
 */
export async function openBackend({
  name,
  config,
  log,
  token,
}: {
  readonly name: string;
  readonly config: BackendConfig;
  readonly log: Log;
  readonly token?: Secret;
}): Promise<OpenBackend> {
  const parsed = backendName.parse(name);
  switch (config.kind) {
    case "embedded":
      return await openEmbeddedBackend({ name: parsed, file: config.file, log });
    case "vault":
      try {
        return openVaultBackend({ name: parsed, config, log, ...(token !== undefined && { token }) });
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        throw new ConfigError(
          `backends.${name}`,
          error.problems.map((problem) => `tls.${problem}`),
        );
      }
  }
}
