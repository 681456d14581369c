// How the registry lies in Vault's KV version 2: a document for each cluster and each uid, and an index
// that says what was edited lately. Below the path of the configuration, where 0.1.0 kept one document
// for all clusters. (docs/architecture.md #registry.)
import { checkConfig, ConfigError, isTree, z, zInteger, zName } from "@claviger/proto/runtime/config.ts";
import { type ClusterName, clusterName, type ClusterUid } from "@claviger/proto/wire/names.ts";
import type { DocumentRef } from "../backend/port.ts";

const maxSequence = Number.MAX_SAFE_INTEGER;

/** Raised by each writer, after what it wrote. Fields that a later release adds are passed over. */
const indexDocument = z.object({
  /** How many edits there have been. */
  sequence: zInteger(1, maxSequence),
  /** The last of them, oldest first: the number of the edit, a space, and the cluster's name. */
  changed: z.array(z.string()),
});
export type RegistryIndex = z.infer<typeof indexDocument>;

/** Says for life which cluster a uid belongs to. */
const uidDocument = z.object({
  cluster: zName(clusterName),
  /** The cluster's record has this generation or a higher one. */
  generation: z._default(zInteger(0, 1_000_000_000), 0),
  /** The cluster was removed; the uid is nobody's. */
  removed: z.optional(z.boolean()),
});
export type UidDocument = z.infer<typeof uidDocument>;

/** How many edits the index names. A gateway that missed more reads everything again. */
const namedEdits = 100;

function below({ path, ...rest }: DocumentRef, name: string): DocumentRef {
  return { ...rest, path: `${path}/${name}` };
}
export function indexAt(root: DocumentRef): DocumentRef {
  return below(root, "index");
}
export function clustersAt(root: DocumentRef): DocumentRef {
  return below(root, "clusters");
}
export function clusterAt(root: DocumentRef, name: ClusterName): DocumentRef {
  return below(root, `clusters/${name}`);
}
export function uidAt(root: DocumentRef, uid: ClusterUid): DocumentRef {
  return below(root, `uids/${uid}`);
}

/** @throws ConfigError */
export function readIndex(source: string, data: unknown): RegistryIndex {
  return checkConfig(`${source}/index`, data, indexDocument);
}

/** The index after an edit of these clusters. */
export function raisedIndex(index: RegistryIndex | undefined, names: readonly ClusterName[]): RegistryIndex {
  const first = (index?.sequence ?? 0) + 1;
  const changed = [...(index?.changed ?? []), ...names.map((name, i) => `${first + i} ${name}`)];
  return { sequence: first + Math.max(names.length, 1) - 1, changed: changed.slice(-namedEdits) };
}

/** The clusters that were edited after `sequence`; undefined when the index does not name them all. */
export function editedSince(index: RegistryIndex, sequence: number): ReadonlySet<ClusterName> | undefined {
  const names = new Set<ClusterName>();
  let found = 0;
  for (const line of index.changed) {
    const [number, name = ""] = line.split(" ");
    if (Number(number) <= sequence || Number(number) > index.sequence) continue;
    if (!clusterName.is(name)) return undefined;
    names.add(name);
    found += 1;
  }
  return index.sequence >= sequence && found === index.sequence - sequence ? names : undefined;
}

/** @throws ConfigError */
export function readUid(source: string, uid: ClusterUid, data: unknown): UidDocument {
  return checkConfig(`${source}/uids/${uid}`, data, uidDocument);
}

/** In the place of a cluster that was removed: the document goes on counting its versions. */
export function removedCluster(uid: ClusterUid): Readonly<Record<string, unknown>> {
  return { removed: uid };
}
export function isRemoved(data: unknown): boolean {
  return isTree(data) && Object.hasOwn(data, "removed");
}

/** In the place of the one document of 0.1.0, when each cluster has its own. */
export const movedDocument: Readonly<Record<string, unknown>> = {
  moved: "each cluster has a document of its own, below clusters/",
};
export function isMoved(data: unknown): boolean {
  return isTree(data) && Object.hasOwn(data, "moved");
}

/** What messages call one cluster's document. */
export function clusterSource(source: string, name: string): string {
  return `${source}/clusters/${name}`;
}

export function missingRegistry(source: string): ConfigError {
  return new ConfigError(source, ["there is none yet: 'claviger cluster add' makes it"]);
}
