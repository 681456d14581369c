// Where changes wait for a second administrator.
import type { Documents } from "@claviger/gateway-core/src/backend/port.ts";
import { createOnceDocuments, openOnceDirectory } from "../once-store.ts";
import type { ApprovalsConfig } from "./config.ts";
import { type ApprovalStore, parsePending } from "./pending.ts";

export async function openApprovalStore(
  config: ApprovalsConfig["store"],
  documentsOf: (backend: string) => Documents,
): Promise<ApprovalStore> {
  switch (config.kind) {
    case "directory":
      return await openOnceDirectory(config.directory, parsePending);
    case "vault": {
      const { backend, mount, path, namespace } = config;
      const below = { mount, path, ...(namespace !== undefined && { namespace }) };
      return createOnceDocuments(documentsOf(backend), below, parsePending);
    }
  }
}
