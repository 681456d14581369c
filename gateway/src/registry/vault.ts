// The registry in Vault's KV version 2: one document for all clusters, so that the rules that bind them (names and uids stand once) hold at every moment, and
// whoever edits does so with check-and-set against exactly what was read. (Design section 4.)
import { ConfigError, z, zName } from "@claviger/proto/config.ts";
import { backendName, mountPath } from "@claviger/proto/names.ts";
import type { Log } from "@claviger/proto/log.ts";
import type { DocumentRef, Documents } from "../backend/port.ts";
import { openRegistry, type RegistryStore } from "./store.ts";

export const vaultRegistrySchema = z.strictObject({
  kind: z.literal("vault"),
  /** A backend of kind vault: its addresses and its login. */
  backend: zName(backendName),
  namespace: z.optional(zName(mountPath)),
  mount: zName(mountPath),
  path: z._default(zName(mountPath), mountPath.parse("registry")),
});

export type VaultRegistryConfig = z.infer<typeof vaultRegistrySchema>;

export const documentOf = ({ namespace, mount, path }: VaultRegistryConfig): DocumentRef => ({
  mount,
  path,
  ...(namespace !== undefined && { namespace }),
});

/** What messages call it. */
export const sourceOf = ({ backend, mount, path }: VaultRegistryConfig): string => `registry ${backend}: ${mount}/${path}`;

const readMs = 3000;

/**
 * Never fails because Vault is away, now or later: what was read last stays in force, and before the first read nobody is served, which shims ride out.
 * @param hasHints somebody tells of changes at once: then it is read less often by itself
 */
export const openVaultRegistry = (options: {
  readonly documents: Documents;
  readonly config: VaultRegistryConfig;
  readonly backends: ReadonlySet<string>;
  readonly hasHints: () => boolean;
  readonly log: Log;
}): Promise<RegistryStore> => {
  const { documents, config, backends, hasHints, log } = options;
  const source = sourceOf(config);
  const read = async (): Promise<string> => {
    const found = await documents.readDocument(documentOf(config), AbortSignal.timeout(readMs));
    if (found === undefined) throw new ConfigError(source, ["there is none yet: 'claviger cluster add' makes it"]);
    return JSON.stringify(found.data);
  };
  return openRegistry({ source, read, backends, log, mustStart: false, pollMs: () => (hasHints() ? 5000 : 700) });
};
