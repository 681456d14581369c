// The registry as this service changes it, wherever it lies. (docs/architecture.md #registry.)
import type { Documents } from "@claviger/gateway-core/src/backend/port.ts";
import { directoryEditor } from "@claviger/gateway-core/src/registry/edit/directory.ts";
import { type RegistryEditor, textEditor } from "@claviger/gateway-core/src/registry/edit/editor.ts";
import { fileSource } from "@claviger/gateway-core/src/registry/edit/source.ts";
import { vaultEditor } from "@claviger/gateway-core/src/registry/edit/vault.ts";
import { EditError } from "@claviger/gateway-core/src/registry/edit/error.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { ClusterName } from "@claviger/proto/wire/names.ts";
import type { RegistryConfig } from "@claviger/gateway-core/src/registry/open.ts";

/** Which backends there are, the gateways know: records are changed here, never made. */
export const anyBackend = { has: () => true };

/** The record of a cluster; undefined where there is none. @throws ConfigError where it is bad, KmsError where Vault is away */
export async function findCluster(registry: RegistryEditor, name: ClusterName): Promise<ClusterRecord | undefined> {
  try {
    return await registry.one(name);
  } catch (error) {
    if (error instanceof EditError) return undefined;
    throw error;
  }
}

export function openRegistryEditor(
  config: RegistryConfig,
  documentsOf: (backend: string) => Documents,
): RegistryEditor {
  switch (config.kind) {
    case "file":
      return textEditor(fileSource({ file: config.file, backends: anyBackend }));
    case "directory":
      return directoryEditor({ directory: config.directory, backends: anyBackend });
    case "vault":
      return vaultEditor({
        config,
        backends: anyBackend,
        withDocuments: (use) => use(documentsOf(config.backend)),
        // Gateways look twice a second.
        announce: () => Promise.resolve(),
      });
  }
}
