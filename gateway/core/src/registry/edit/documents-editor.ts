// Edits a registry of one document for each cluster, as commands and the fleet service do.
// (docs/architecture.md #registry.)
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { clusterName } from "@claviger/proto/wire/names.ts";
import { createGate } from "../gate.ts";
import { indexVersion } from "../port.ts";
import type { ClusterRecord, Registry } from "../record.ts";
import { changedFields } from "./change.ts";
import type { RegistryDocuments, StoredCluster } from "./documents.ts";
import type { Edited, RegistryEditor } from "./editor.ts";
import { isThere, unknownCluster } from "./error.ts";
import type { NewRecord } from "./record-text.ts";
import type { AddOptions } from "./removed.ts";

/** Documents that are read or written at the same time. */
const parallel = 16;

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
