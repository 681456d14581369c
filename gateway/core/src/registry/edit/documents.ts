// Edits a registry of one document for each cluster, with check-and-set: first the uid's document, then
// the cluster's, then the index, so that an edit that is interrupted leaves nothing that gateways
// refuse. (docs/architecture.md #registry.)
import { type ClusterName, clusterName } from "@claviger/proto/wire/names.ts";
import type { DocumentRef, Documents } from "../../backend/port.ts";
import {
  clusterAt,
  clustersAt,
  clusterSource,
  indexAt,
  isRemoved,
  raisedIndex,
  readIndex,
  readUid,
  type RegistryIndex,
  removedCluster,
  uidAt,
} from "../documents.ts";
import { indexVersion } from "../port.ts";
import { changeProblems, type ClusterRecord } from "../record.ts";
import { EditError, tooLate } from "./error.ts";
import { type AddOptions, removalProblem } from "./removed.ts";
import { checkedRecord } from "./text.ts";
import type { NewRecord } from "./record-text.ts";
import type { Edited } from "./editor.ts";

const callMs = 10_000;
/** How often a small document that others write as well is tried. */
const attempts = 20;

/** A cluster's document: its record, or none where it was removed or never there. */
export type StoredCluster = { readonly record: ClusterRecord | undefined; readonly version: number };

export interface RegistryDocuments {
  readonly index: () => Promise<RegistryIndex | undefined>;
  /** @throws ConfigError when it is bad */
  readonly read: (name: ClusterName) => Promise<StoredCluster>;
  readonly names: () => Promise<readonly ClusterName[]>;
  /** @throws EditError or ConfigError where `write` would */
  readonly check: (record: NewRecord, stored: StoredCluster, options?: AddOptions) => Promise<void>;
  /** Writes over what was read. @throws EditError when that is not there any more, or a rule is broken */
  readonly write: (record: NewRecord, stored: StoredCluster, options?: AddOptions) => Promise<void>;
  /** Makes the uid's document. @throws EditError when the uid is another cluster's */
  readonly claim: (record: Pick<ClusterRecord, "name" | "uid">) => Promise<void>;
  readonly markRemoved: (record: ClusterRecord, stored: StoredCluster) => Promise<void>;
  /** Says which clusters were edited: gateways read these again. */
  readonly raise: (names: readonly ClusterName[]) => Promise<Edited>;
}

/** The documents below a path. */
export function registryDocuments({
  documents,
  root,
  source,
  backends,
}: {
  readonly documents: Documents;
  readonly root: DocumentRef;
  readonly source: string;
  readonly backends: Pick<ReadonlySet<string>, "has">;
}): RegistryDocuments {
  const signal = (): AbortSignal => AbortSignal.timeout(callMs);
  const read = (at: DocumentRef) => documents.readDocument(at, signal());
  const checked = (name: ClusterName, raw: unknown): ClusterRecord =>
    checkedRecord(clusterSource(source, name), raw, backends, (record) =>
      record.name === name ? [] : [`name: is ${record.name}; the document's own name must stand there`],
    );
  /** Writes a document that others write as well; `next` says what, by what is there. */
  const update = async (
    at: DocumentRef,
    next: (data: unknown) => Readonly<Record<string, unknown>> | undefined,
  ): Promise<void> => {
    for (let i = 0; i < attempts; i += 1) {
      const found = await read(at);
      const data = next(found?.data);
      if (data === undefined || (await documents.writeDocument(at, data, found?.version ?? 0, signal()))) return;
    }
    throw tooLate(`${source}: ${at.path}`);
  };

  type Claimed = Pick<ClusterRecord, "name" | "uid">;
  /** What the uid's document says; of another cluster's, or a removed one's, it is refused. */
  const claimed = (record: Claimed, data: unknown, restores: boolean) => {
    const known = data === undefined ? undefined : readUid(source, record.uid, data);
    const problem = known?.removed === true ? removalProblem(record, known.cluster, restores) : undefined;
    if (problem !== undefined) throw new EditError(problem);
    if (known !== undefined && known.cluster !== record.name)
      throw new EditError(
        `${record.name}: the uid ${record.uid} is that of ${known.cluster}, for life; nothing was changed`,
      );
    return known;
  };
  /** The uid's document names the cluster, and the generation that its record has at least. */
  const claim = (record: Claimed, least = 0, restores = true): Promise<void> =>
    update(uidAt(root, record.uid), (data) => {
      const known = claimed(record, data, restores);
      if (known !== undefined && known.generation >= least && known.removed !== true) return undefined;
      return { cluster: record.name, generation: Math.max(least, known?.generation ?? 0) };
    });
  const checkChange = (given: NewRecord, { record: before }: StoredCluster): ClusterRecord => {
    const record = checked(given.name, given);
    const problems = changeProblems(record, before, undefined);
    if (problems.length > 0) throw new EditError(problems.join("\n"));
    return record;
  };

  return {
    async index() {
      const found = await read(indexAt(root));
      return found === undefined ? undefined : readIndex(source, found.data);
    },
    async read(name) {
      const found = await read(clusterAt(root, name));
      if (found === undefined || isRemoved(found.data)) return { record: undefined, version: found?.version ?? 0 };
      return { record: checked(name, found.data), version: found.version };
    },
    async names() {
      const found = await documents.listDocuments(clustersAt(root), signal());
      return found.filter((name) => clusterName.is(name));
    },
    claim: (record) => claim(record),
    async check(given, stored, { restores = false } = {}) {
      const record = checkChange(given, stored);
      const known = claimed(record, (await read(uidAt(root, record.uid)))?.data, restores);
      if (known !== undefined && record.generation < known.generation)
        throw new EditError(
          `${record.name}: generation went back from ${known.generation} to ${record.generation}; gateways would refuse the record`,
        );
    },
    async write(given, stored, { restores = false } = {}) {
      const record = checkChange(given, stored);
      const { version } = stored;
      // What is there has its uid, also where a removal was interrupted.
      await claim(record, 0, restores || stored.record !== undefined);
      if (!(await documents.writeDocument(clusterAt(root, record.name), record, version, signal())))
        throw tooLate(clusterSource(source, record.name));
      if (record.generation > 0) await claim(record, record.generation);
    },
    async markRemoved(record, { version }) {
      const { name, uid } = record;
      await update(uidAt(root, uid), (data) => {
        const { generation } = claimed(record, data, true) ?? { generation: 0 };
        return { cluster: name, generation: Math.max(generation, record.generation), removed: true };
      });
      if (!(await documents.writeDocument(clusterAt(root, name), removedCluster(uid), version, signal())))
        throw tooLate(clusterSource(source, name));
    },
    async raise(names) {
      let sequence = 0;
      await update(indexAt(root), (data) => {
        const index = raisedIndex(data === undefined ? undefined : readIndex(source, data), names);
        ({ sequence } = index);
        return index;
      });
      return { version: indexVersion(sequence) };
    },
  };
}
