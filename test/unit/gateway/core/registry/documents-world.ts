// A registry of documents for its contract: in a Vault, or in the fake of one.
import { vaultEditor } from "@claviger/gateway-core/src/registry/edit/vault.ts";
import type { DocumentRef, Documents } from "@claviger/gateway-core/src/backend/port.ts";
import {
  clusterAt,
  indexAt,
  raisedIndex,
  type RegistryIndex,
  uidAt,
} from "@claviger/gateway-core/src/registry/documents.ts";
import { documentOf, openVaultRegistry, vaultRegistrySchema } from "@claviger/gateway-core/src/registry/vault.ts";
import { clusterName, clusterUid } from "@claviger/proto/wire/names.ts";
import type { RegistryWorld } from "../../../../contracts/registry.ts";
import { silent } from "../../fakes.ts";

/** @param stop ends where the documents are */
export function documentsWorld(documents: Documents, stop: () => Promise<void>): RegistryWorld {
  const config = vaultRegistrySchema.parse({ kind: "vault", backend: "main", mount: "documents" });
  const root = documentOf(config);
  const backends = new Set(["main"]);
  const signal = (): AbortSignal => AbortSignal.timeout(5000);
  const read = (at: DocumentRef) => documents.readDocument(at, signal());
  const write = async (at: DocumentRef, data: object): Promise<void> => {
    await documents.writeDocument(at, { ...data }, (await read(at))?.version ?? 0, signal());
  };
  return {
    editor: vaultEditor({
      config,
      backends,
      withDocuments: (use) => use(documents),
      announce: () => Promise.resolve(),
    }),
    open: () => Promise.resolve(openVaultRegistry({ documents, config, backends, log: silent })),
    async put(name, record) {
      const cluster = clusterName.parse(name);
      const { uid } = record as { readonly uid: string };
      if (clusterUid.is(uid)) await documents.writeDocument(uidAt(root, uid), { cluster }, 0, signal());
      await write(clusterAt(root, cluster), record);
      const index = (await read(indexAt(root)))?.data as RegistryIndex | undefined;
      await write(indexAt(root), raisedIndex(index, [cluster]));
    },
    stop,
  };
}
