// The registry in Vault's KV version 2: one document for all clusters, so that the rules that bind
// them (names and uids stand once) hold at every moment, and whoever edits does so with
// check-and-set against exactly what was read. (docs/architecture.md #registry.)
import { ConfigError, z, zName } from "@claviger/proto/runtime/config.ts";
import { backendName, mountPath } from "@claviger/proto/wire/names.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { DocumentRef, Documents } from "../backend/port.ts";
import { openRegistry, type RegistryStore } from "./watched-registry.ts";

export const vaultRegistrySchema = z.strictObject({
  /** The registry is a document in KV version 2 of a Vault. */
  kind: z.literal("vault"),
  /** A backend of kind vault: its addresses and its login. */
  backend: zName(backendName),
  /** The Vault namespace of the mount. */
  namespace: z.optional(zName(mountPath)),
  /** The mount of the KV store. */
  mount: zName(mountPath),
  /** The path of the document. */
  path: z._default(zName(mountPath), mountPath.parse("registry")),
});

export type VaultRegistryConfig = z.infer<typeof vaultRegistrySchema>;

export function documentOf({ namespace, mount, path }: VaultRegistryConfig): DocumentRef {
  return {
    mount,
    path,
    ...(namespace !== undefined && { namespace }),
  };
}

/** What messages call it. */
export function sourceOf({ backend, mount, path }: VaultRegistryConfig): string {
  return `registry ${backend}: ${mount}/${path}`;
}

const readMs = 3000;
/** Keeps the promised second. */
const pollMs = 500;
/**
 * What others say counts this long: a suspension holds within a second, whatever Redis says.
 */
const trustMs = 800;

/** The other replicas, as Redis lets one speak with them. */
export type Peers = {
  /** One replica's turn; true as well when Redis does not answer. */
  readonly tryAcquire: (name: string, milliseconds: number) => Promise<boolean>;
  /** Tells them that there is something to read. */
  readonly tell: () => void;
};

/**
 * Never fails because Vault is away, now or later: what was read last stays in force, and before
 * the first read no cluster is served, which is an outage to shims.
 * @param peers with them one replica polls for all; without them each for itself
 */
export function openVaultRegistry(options: {
  readonly documents: Documents;
  readonly config: VaultRegistryConfig;
  readonly backends: ReadonlySet<string>;
  readonly peers?: Peers;
  readonly log: Log;
}): Promise<RegistryStore> {
  const { documents, config, backends, peers, log } = options;
  const source = sourceOf(config);
  let readAt = Number.NEGATIVE_INFINITY;
  const read = async (): Promise<string> => {
    readAt = performance.now();
    const found = await documents.readDocument(documentOf(config), AbortSignal.timeout(readMs));
    if (found === undefined) throw new ConfigError(source, ["there is none yet: 'claviger cluster add' makes it"]);
    return JSON.stringify(found.data);
  };
  // Whoever edits it need not reach Redis, nor know of it: `vault kv put` and Terraform do not.
  const shared = peers !== undefined && {
    isDue: async () => performance.now() - readAt >= trustMs || (await peers.tryAcquire("registry", pollMs * 0.9)),
    onFound: peers.tell,
  };
  return openRegistry({ source, read, backends, log, mustStart: false, pollMs, ...shared });
}
