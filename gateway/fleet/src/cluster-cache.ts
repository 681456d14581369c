// Every record of the registry, held in memory and followed as gateways follow it: a list of 10,000 clusters
// reads nothing. (docs/architecture.md #control-plane.)
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import type { ClusterName } from "@claviger/proto/wire/names.ts";
import type { RegistryEditor } from "@claviger/gateway-core/src/registry/edit/editor.ts";
import type { WholeRegistry } from "@claviger/gateway-core/src/registry/port.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";

export interface ClusterCache {
  /**
   * Every record, by name: as of the last edit of this service, and of others within a second.
   * @throws KmsError, ConfigError or EditError where the registry was never read yet and cannot be
   */
  all(): Promise<readonly ClusterRecord[]>;
  /** What is wrong with records as they stand; undefined where all are good. */
  problem(): string | undefined;
  /** Takes note of an edit of this service. Never rejects. */
  edited(names: readonly ClusterName[]): Promise<void>;
  close(): void;
}

/**
 * @param open the registry as gateways open it; rejects with ConfigError where there is none yet
 * @param editor reads it while it is not there
 */
export function createClusterCache(open: () => Promise<WholeRegistry>, editor: RegistryEditor): ClusterCache {
  let store: WholeRegistry | undefined;
  let opening: Promise<WholeRegistry> | undefined;
  const opened = async (): Promise<WholeRegistry> => {
    opening ??= open();
    try {
      store = await opening;
      return store;
    } catch (error) {
      opening = undefined;
      throw error;
    }
  };
  return {
    async all() {
      try {
        const registry = await opened();
        await registry.loadAll();
        return registry.known().toSorted((a, b) => (a.name < b.name ? -1 : 1));
      } catch (error) {
        // There is none yet, which is a registry without clusters, or none that could be read: it says why.
        if (error instanceof ConfigError) return [...(await editor.all("empty")).values()];
        throw error;
      }
    },
    problem: () => store?.problem(),
    async edited(names) {
      const registry = store;
      if (registry !== undefined) await Promise.all(names.map((name) => registry.refresh(name)));
    },
    close: () => store?.close(),
  };
}
