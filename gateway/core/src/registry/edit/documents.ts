// Edits a registry of one document for each cluster, with check-and-set: first the uid's document, then
// the cluster's, then the index, so that an edit that is interrupted leaves nothing that gateways
// refuse. (docs/architecture.md #registry.)
import { ConfigError } from "@claviger/proto/runtime/config.ts";
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
import { createGate } from "../gate.ts";
import { indexVersion } from "../port.ts";
import { changeProblems, type ClusterRecord, type Registry } from "../record.ts";
import { changedFields } from "./change.ts";
import { EditError, isThere, tooLate, unknownCluster } from "./error.ts";
import { type AddOptions, removalProblem } from "./removed.ts";
import { checkedRecord } from "./text.ts";
import type { NewRecord } from "./record-text.ts";
import type { Edited, RegistryEditor } from "./editor.ts";

const callMs = 10_000;
/** Documents that are read or written at the same time. */
const parallel = 16;
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

/** Every record of them. @throws ConfigError with everything that is wrong */
export async function readAll(source: string, { names, read }: RegistryDocuments): Promise<Registry> {
  const gate = createGate(parallel);
  const problems: string[] = [];
  const list = (await names()).toSorted();
  const found = await Promise.all(
    list.map((name) =>
      gate(() =>
        read(name).catch((error: unknown) => {
          if (!(error instanceof ConfigError)) throw error;
          problems.push(...error.problems.map((line) => `clusters/${name}: ${line}`));
          return undefined;
        }),
      ),
    ),
  );
  if (problems.length > 0) throw new ConfigError(source, problems);
  return new Map(
    found.flatMap((stored) => (stored?.record === undefined ? [] : [[stored.record.name, stored.record]])),
  );
}

/**
 * @param announce tells the gateways that there is something to read; may fail in silence
 */
export function documentsEditor({
  name: source,
  backends,
  use,
  announce,
}: {
  readonly name: string;
  readonly backends: Pick<ReadonlySet<string>, "has">;
  /** Opens the documents for the time of a call. */
  readonly use: <T>(run: (documents: RegistryDocuments) => Promise<T>) => Promise<T>;
  readonly announce: () => Promise<void>;
}): RegistryEditor {
  const known = async (
    documents: RegistryDocuments,
    name: string,
  ): Promise<StoredCluster & { readonly record: ClusterRecord }> => {
    if (!clusterName.is(name)) throw unknownCluster(name);
    const { record, version } = await documents.read(name);
    if (record === undefined) throw unknownCluster(name);
    return { record, version };
  };
  const told = async (edited: Promise<Edited>): Promise<Edited> => {
    const done = await edited;
    await announce();
    return done;
  };

  const addThese = async (
    documents: RegistryDocuments,
    records: readonly NewRecord[],
    options: AddOptions = {},
  ): Promise<Edited> => {
    const gate = createGate(parallel);
    const stored = await Promise.all(
      records.map((record) =>
        gate(async () => {
          const found = await documents.read(record.name);
          if (found.record !== undefined) throw isThere(record.name);
          await documents.check(record, found, options);
          return { record, found };
        }),
      ),
    );
    if (options.dryRun === true) return { version: indexVersion((await documents.index())?.sequence ?? 0) };
    const outcomes = await Promise.allSettled(
      stored.map(({ record, found }) => gate(() => documents.write(record, found, options))),
    );
    const edited = await told(documents.raise(records.map(({ name }) => name)));
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    return edited;
  };

  return {
    name: source,
    backends,
    all: () => use((documents) => readAll(source, documents)),
    one: (name) => use(async (documents) => (await known(documents, name)).record),
    add: (records, options) => use((documents) => addThese(documents, records, options)),
    addAll: (select, options) =>
      use(async (documents) => addThese(documents, select(await readAll(source, documents)), options)),
    change: (name, next) =>
      use(async (documents) => {
        const stored = await known(documents, name);
        const { record } = stored;
        const changed = changedFields(record, next);
        if (changed !== undefined) await documents.write({ ...record, ...changed }, stored);
        // Also where it is so already: who changed it may have been interrupted before the index said so.
        return { earlier: record, ...(await told(documents.raise([record.name]))) };
      }),
    remove: (name) =>
      use(async (documents) => {
        const stored = await known(documents, name);
        await documents.markRemoved(stored.record, stored);
        return await told(documents.raise([stored.record.name]));
      }),
  };
}
