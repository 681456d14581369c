// The registry in Vault as commands edit it: documents for each cluster, or the one document of 0.1.0
// until it is moved. (docs/architecture.md #registry.)
import type { DocumentRef, Documents } from "../../backend/port.ts";
import { isMoved, readUid, uidAt } from "../documents.ts";
import { documentOf, sourceOf, type VaultRegistryConfig } from "../vault.ts";
import { tooLate } from "./error.ts";
import { toYaml } from "./text.ts";
import { type RegistryDocuments, registryDocuments } from "./documents.ts";
import { documentsEditor } from "./documents-editor.ts";
import { type RegistryEditor, textEditor } from "./editor.ts";
import type { RemovedUids } from "./removed.ts";
import { vaultSource } from "./source.ts";
import { type Upgrade, upgradeRegistry } from "./upgrade.ts";

export type VaultEditor = RegistryEditor & {
  /** Moves the one document of 0.1.0; see upgradeRegistry. */
  readonly upgrade: () => Promise<Upgrade>;
};

const callMs = 10_000;

type WithDocuments = <T>(use: (documents: Documents) => Promise<T>) => Promise<T>;

/** Of the one document of 0.1.0: the documents that uids have after its move are made for removed ones alone. */
function removedIn(withDocuments: WithDocuments, root: DocumentRef, source: string): RemovedUids {
  return {
    nameOf: (uid) =>
      withDocuments(async (documents) => {
        const found = await documents.readDocument(uidAt(root, uid), AbortSignal.timeout(callMs));
        const known = found === undefined ? undefined : readUid(source, uid, found.data);
        return known?.removed === true ? known.cluster : undefined;
      }),
    add: ({ name, uid }) =>
      withDocuments(async (documents) => {
        const at = uidAt(root, uid);
        const found = await documents.readDocument(at, AbortSignal.timeout(callMs));
        const { generation } = found === undefined ? { generation: 0 } : readUid(source, uid, found.data);
        const data = { cluster: name, generation, removed: true };
        if (!(await documents.writeDocument(at, data, found?.version ?? 0, AbortSignal.timeout(callMs))))
          throw tooLate(source);
      }),
  };
}

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
  readonly withDocuments: WithDocuments;
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
  const byText = textEditor(
    vaultSource({ config, backends, withDocuments, announce, toYaml, removed: removedIn(withDocuments, root, name) }),
  );
  const editor = async (): Promise<RegistryEditor> => {
    const one = await withDocuments((documents) => documents.readDocument(root, AbortSignal.timeout(callMs)));
    return one === undefined || isMoved(one.data) ? byDocuments : byText;
  };
  return {
    name,
    backends,
    all: async (missing) => (await editor()).all(missing),
    one: async (cluster) => (await editor()).one(cluster),
    add: async (records, options) => (await editor()).add(records, options),
    addAll: async (select, options) => (await editor()).addAll(select, options),
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
