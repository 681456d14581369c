// Reads one cluster's document and holds it against what is stored and what is in force.
// (docs/architecture.md #registry.)
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import type { ClusterName } from "@claviger/proto/wire/names.ts";
import type { DocumentRef, Documents } from "../backend/port.ts";
import { clusterAt, clusterSource, isRemoved, readUid, uidAt } from "./documents.ts";
import { withCurrentNames } from "./pieces.ts";
import { backendProblems, changeProblems, checkRecord, type ClusterRecord } from "./record.ts";

/** What a cluster's document says. */
export type ReadRecord =
  | { readonly kind: "good"; readonly record: ClusterRecord }
  /** One line each, with where it stands. */
  | { readonly kind: "bad"; readonly problems: readonly string[] }
  | { readonly kind: "removed" }
  /** There is no document. */
  | { readonly kind: "missing" };

export type RecordReader = (name: ClusterName, before: ClusterRecord | undefined) => Promise<ReadRecord>;

const readMs = 3000;

/**
 * @param ownerOf the cluster that a uid belongs to, as far as it is known without reading
 */
export function createRecordReader({
  documents,
  root,
  source,
  backends,
  ownerOf,
}: {
  readonly documents: Documents;
  readonly root: DocumentRef;
  readonly source: string;
  readonly backends: Pick<ReadonlySet<string>, "has">;
  readonly ownerOf: (uid: string) => ClusterName | undefined;
}): RecordReader {
  /** What the uid's document has against the record. */
  const uidProblems = async ({ name, uid, generation }: ClusterRecord): Promise<readonly string[]> => {
    const found = await documents.readDocument(uidAt(root, uid), AbortSignal.timeout(readMs));
    if (found === undefined)
      return [`${name}: the uid ${uid} has no document, ${source}/uids/${uid}: 'claviger registry upgrade' makes it`];
    const { cluster, generation: least } = readUid(source, uid, found.data);
    if (cluster !== name) return [`${name}: the uid ${uid} is that of ${cluster}, for life; give this cluster its own`];
    return generation < least ? [`${name}: generation went back from ${least} to ${generation}`] : [];
  };

  return async (name, before) => {
    const found = await documents.readDocument(clusterAt(root, name), AbortSignal.timeout(readMs));
    if (found === undefined) return { kind: "missing" };
    const { data } = found;
    if (isRemoved(data)) return { kind: "removed" };
    const bad = (problems: readonly string[]): ReadRecord => ({
      kind: "bad",
      problems: problems.map((line) => `${clusterSource(source, name)}: ${line}`),
    });
    const { record, problems } = checkRecord(withCurrentNames(data, () => {}));
    if (record === undefined) return bad(problems);
    if (record.name !== name) return bad([`name: is ${record.name}; the document's own name must stand there`]);
    const wrong = [...backendProblems(record, backends), ...changeProblems(record, before, ownerOf(record.uid))];
    if (wrong.length > 0) return bad(wrong);
    try {
      const ofUid = await uidProblems(record);
      return ofUid.length === 0 ? { kind: "good", record } : bad(ofUid);
    } catch (error) {
      if (error instanceof ConfigError) return bad(error.problems);
      throw error;
    }
  };
}
