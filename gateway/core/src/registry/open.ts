// Opens the registry that a configuration names.
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { Documents } from "../backend/port.ts";
import { openDirectoryRegistry } from "./directory.ts";
import { openFileRegistry } from "./file.ts";
import type { WholeRegistry } from "./port.ts";
import { openVaultRegistry, type Peers, type VaultRegistryConfig } from "./vault.ts";

export type RegistryConfig =
  | { readonly kind: "file"; readonly file: string }
  | { readonly kind: "directory"; readonly directory: string }
  | VaultRegistryConfig;

/**
 * @param documentsOf the documents of a backend, by its name
 * @throws ConfigError for files that cannot be read; a Vault may be away
 */
export async function openRegistry(options: {
  readonly config: RegistryConfig;
  readonly documentsOf: (backend: string) => Documents;
  /** The names that the configuration knows. */
  readonly backends: Pick<ReadonlySet<string>, "has">;
  readonly peers?: Peers;
  readonly log: Log;
}): Promise<WholeRegistry> {
  const { config, documentsOf, ...rest } = options;
  switch (config.kind) {
    case "file":
      return await openFileRegistry({ file: config.file, ...rest });
    case "directory":
      return await openDirectoryRegistry({ directory: config.directory, ...rest });
    case "vault":
      return openVaultRegistry({ documents: documentsOf(config.backend), config, ...rest });
  }
}
