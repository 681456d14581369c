// The registry in Vault's KV version 2: a document for each cluster, and an index that says which were
// edited. The one document of 0.1.0 is read until it is moved. (docs/architecture.md #registry.)
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { ConfigError, z, zName } from "@claviger/proto/runtime/config.ts";
import { backendName, type ClusterName, clusterName, mountPath } from "@claviger/proto/wire/names.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { DocumentRef, Documents } from "../backend/port.ts";
import { createClusters } from "./clusters.ts";
import { indexAt, isMoved, missingRegistry, readIndex, type RegistryIndex } from "./documents.ts";
import { piecesOfValue } from "./pieces.ts";
import { createPollLoop, type Look } from "./poll-loop.ts";
import { indexVersion, type WholeRegistry } from "./port.ts";
import { createRecordReader } from "./record-reader.ts";
import { createRecordTable } from "./table.ts";
import { createMergedRecords, createProblemReport, numbersOf } from "./texts.ts";

export const vaultRegistrySchema = z.strictObject({
  /** The registry lies in KV version 2 of a Vault, a document for each cluster. */
  kind: z.literal("vault"),
  /** A backend of kind vault: its addresses and its login. */
  backend: zName(backendName),
  /** The Vault namespace of the mount. */
  namespace: z.optional(zName(mountPath)),
  /** The mount of the KV store. */
  mount: zName(mountPath),
  /** The path that its documents are below: `index`, `clusters/NAME` and `uids/UID`. In 0.1.0 one document. */
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

const unedited: RegistryIndex = { sequence: 0, changed: [] };

/** How the registry lies there: as 0.1.0 wrote it, or a document for each cluster. */
type Layout = "unknown" | "one document" | "documents";

/**
 * Never fails because Vault is away, now or later: what was read last stays in force, and a cluster of
 * which nothing was read is not served, which is an outage to shims. Waits for nothing.
 * @param peers with them one replica polls for all; without them each for itself
 */
export function openVaultRegistry({
  documents,
  config,
  backends,
  peers,
  log,
}: {
  readonly documents: Documents;
  readonly config: VaultRegistryConfig;
  readonly backends: Pick<ReadonlySet<string>, "has">;
  readonly peers?: Peers;
  readonly log: Log;
}): WholeRegistry {
  const source = sourceOf(config);
  const root = documentOf(config);
  const table = createRecordTable();
  const report = createProblemReport(log);
  const merged = createMergedRecords({ source, backends, table, log });
  let layout: Layout = "unknown";
  /** Why the index, or the one document, is not in force. */
  let failure: unknown;
  let readAt = Number.NEGATIVE_INFINITY;
  let text: string | undefined;
  let rejected: unknown;

  const readAny = (at: DocumentRef) => documents.readDocument(at, AbortSignal.timeout(readMs));
  const readIndexDocument = async (): Promise<RegistryIndex | undefined> => {
    const found = await readAny(indexAt(root));
    return found === undefined ? undefined : readIndex(source, found.data);
  };
  const saySo = (): void => {
    const problems = layout === "documents" ? clusters.problems() : [];
    report.set(failure ?? (problems.length === 0 ? undefined : new ConfigError(source, problems)));
  };
  const clusters = createClusters({
    documents,
    root,
    read: createRecordReader({ documents, root, source, backends, ownerOf: table.ownerOf }),
    table,
    isStoreThere: async () => (await readIndexDocument()) !== undefined || isMoved((await readAny(root))?.data),
    onProblem: saySo,
  });

  const followIndex = async (index: RegistryIndex): Promise<boolean> => {
    const isNew = index.sequence !== clusters.sequence();
    layout = "documents";
    failure = undefined;
    if (!(await clusters.follow(index)))
      failure = new KmsError("backend_unavailable", { cause: new Error("an edited record could not be read yet") });
    if (isNew) log.info({ event: "registry-changed", sequence: index.sequence }, "the registry has changed");
    return isNew;
  };
  const followOne = async (data: unknown): Promise<boolean> => {
    layout = "one document";
    const newest = JSON.stringify(data);
    const isNew = newest !== text;
    text = newest;
    if (isNew) rejected = await merged.take(() => piecesOfValue(source, data));
    failure = rejected;
    return isNew;
  };
  /** A policy of 0.1.0 lets a gateway read the one document and nothing beside it. */
  const readIndexIfAllowed = async (): Promise<RegistryIndex | KmsError | undefined> => {
    try {
      return await readIndexDocument();
    } catch (error) {
      if (error instanceof KmsError && error.reason === "backend_denied") return error;
      throw error;
    }
  };
  const find = async (): Promise<boolean> => {
    readAt = performance.now();
    const index = layout === "one document" ? undefined : await readIndexIfAllowed();
    if (index instanceof KmsError && layout === "documents") throw index;
    if (index !== undefined && !(index instanceof KmsError)) return await followIndex(index);
    const one = await readAny(root);
    const isCurrent = one !== undefined && !isMoved(one.data);
    if (isCurrent && layout !== "documents") return await followOne(one.data);
    // It was moved, or there is none yet. A move that was interrupted lacks the index.
    const moved = (await readIndexDocument()) ?? (one === undefined || isCurrent ? undefined : unedited);
    if (moved === undefined) throw missingRegistry(source);
    return await followIndex(moved);
  };
  const look = async (): Promise<Look> => {
    let hasChanged = false;
    try {
      hasChanged = await find();
    } catch (error) {
      failure = error;
    }
    saySo();
    return { hasChanged, isGood: failure === undefined };
  };

  // Whoever edits it need not reach Redis, nor know of it: `vault kv put` and Terraform do not.
  const shared = peers !== undefined && {
    isDue: async () => performance.now() - readAt >= trustMs || (await peers.tryAcquire("registry", pollMs * 0.9)),
    onFound: peers.tell,
  };
  const loop = createPollLoop({ look, pollMs, ...shared });
  let isFirstOver = false;
  const first = loop.refresh().then(() => {
    isFirstOver = true;
    loop.begin();
  });
  const load = (name: ClusterName): Promise<void> | undefined => {
    if (layout === "documents") return clusters.load(name);
    return layout === "one document" || isFirstOver ? undefined : first.then(() => load(name));
  };

  return {
    get(name) {
      if (layout === "one document") return merged.get(name);
      if (layout === "unknown")
        throw new KmsError("backend_unavailable", { cause: new Error("the registry could not be read yet") });
      clusters.assertKnown(name);
      return table.get(name);
    },
    load,
    async loadAll() {
      await first;
      if (layout === "documents") await clusters.loadAll();
      else if (layout === "unknown" || !merged.isKnown())
        throw failure instanceof ConfigError
          ? failure
          : new KmsError("backend_unavailable", { cause: failure as Error });
    },
    known: () => [...table.records.values()],
    using: table.using,
    version() {
      const sequence = clusters.sequence();
      if (layout === "one document") return merged.isKnown() ? table.digest() : undefined;
      return sequence === undefined || failure !== undefined ? undefined : indexVersion(sequence);
    },
    problem: report.problem,
    numbers: () => numbersOf(table, report.count(), loop, layout === "documents" ? clusters.sequence() : undefined),
    async refresh(name) {
      await Promise.all([loop.refresh(), ...(name === undefined ? [] : [clusters.reread(name)])]);
    },
    close: loop.close,
  };
}

/** The clusters that were edited last, newest first: not all of them, and none of a registry of 0.1.0. */
export async function lastEdited(documents: Documents, config: VaultRegistryConfig, signal: AbortSignal) {
  const found = await documents.readDocument(indexAt(documentOf(config)), signal).catch(() => undefined);
  const changed = found === undefined ? [] : readIndex(sourceOf(config), found.data).changed;
  const names = changed.map((line) => line.split(" ")[1]).filter(clusterName.is);
  return [...new Set(names.toReversed())];
}
