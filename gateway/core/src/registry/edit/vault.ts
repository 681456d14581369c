// The registry in Vault as commands edit it: documents for each cluster, or the one document of 0.1.0
// until it is moved. (docs/architecture.md #registry.)
import type { Documents } from "../../backend/port.ts";
import { isMoved } from "../documents.ts";
import { documentOf, sourceOf, type VaultRegistryConfig } from "../vault.ts";
import { toYaml } from "./text.ts";
import { documentsEditor, type RegistryDocuments, registryDocuments } from "./documents.ts";
import { type RegistryEditor, textEditor } from "./editor.ts";
import { vaultSource } from "./source.ts";
import { type Upgrade, upgradeRegistry } from "./upgrade.ts";

export type VaultEditor = RegistryEditor & {
  /** Moves the one document of 0.1.0; see upgradeRegistry. */
  readonly upgrade: () => Promise<Upgrade>;
};

const callMs = 10_000;

/**
 * @param withDocuments opens the backend's documents for the time of a call
 * @param announce tells the gateways that there is something to read; may fail in silence
 */
export function vaultEditor({
  config,
  backends,
  withDocuments,
  announce,
}: {
  readonly config: VaultRegistryConfig;
  readonly backends: Pick<ReadonlySet<string>, "has">;
  readonly withDocuments: <T>(use: (documents: Documents) => Promise<T>) => Promise<T>;
  readonly announce: () => Promise<void>;
}): VaultEditor {
  const root = documentOf(config);
  const name = sourceOf(config);
  const clustersIn = (documents: Documents): RegistryDocuments =>
    registryDocuments({ documents, root, source: name, backends });
  const byDocuments = documentsEditor({
    name,
    backends,
    use: (run) => withDocuments((documents) => run(clustersIn(documents))),
    announce,
  });
  const byText = textEditor(vaultSource({ config, backends, withDocuments, announce, toYaml }));
  const editor = async (): Promise<RegistryEditor> => {
    const one = await withDocuments((documents) => documents.readDocument(root, AbortSignal.timeout(callMs)));
    return one === undefined || isMoved(one.data) ? byDocuments : byText;
  };
  return {
    name,
    backends,
    all: async (missing) => (await editor()).all(missing),
    one: async (cluster) => (await editor()).one(cluster),
    add: async (record) => (await editor()).add(record),
    addAll: async (select) => (await editor()).addAll(select),
    change: async (cluster, next) => (await editor()).change(cluster, next),
    remove: async (cluster) => (await editor()).remove(cluster),
    async upgrade() {
      const done = await withDocuments((documents) =>
        upgradeRegistry({ documents, root, source: name, backends, clusters: clustersIn(documents) }),
      );
      await announce();
      return done;
    },
  };
}
