// Moves the one document of 0.1.0 into a document for each cluster. May be interrupted at any point and
// run again: until the one document says that it was moved, gateways and commands go by it alone.
// (docs/architecture.md #registry.)
import { parseRegistry } from "../merge.ts";
import { createGate } from "../gate.ts";
import { clusterAt, isMoved, movedDocument } from "../documents.ts";
import type { DocumentRef, Documents } from "../../backend/port.ts";
import type { ClusterRecord } from "../record.ts";
import { isDeepStrictEqual } from "node:util";
import { EditError } from "./error.ts";
import type { RegistryDocuments } from "./documents.ts";
import { readAll } from "./documents-editor.ts";
import type { Edited } from "./editor.ts";

export type Upgrade = Edited & {
  /** Clusters whose document was written, and those that had it in the same words. */
  readonly written: readonly string[];
  readonly present: readonly string[];
  /** The one document was moved by this run. */
  readonly isMoved: boolean;
};

const callMs = 10_000;
const parallel = 16;

/** @throws ConfigError when the one document is bad, EditError when it was edited meanwhile */
export async function upgradeRegistry({
  documents,
  root,
  source,
  backends,
  clusters,
}: {
  readonly documents: Documents;
  readonly root: DocumentRef;
  readonly source: string;
  readonly backends: Pick<ReadonlySet<string>, "has">;
  readonly clusters: RegistryDocuments;
}): Promise<Upgrade> {
  const signal = (): AbortSignal => AbortSignal.timeout(callMs);
  const gate = createGate(parallel);
  const [written, present]: [string[], string[]] = [[], []];
  const one = await documents.readDocument(root, signal());
  const index = await clusters.index();

  if (one === undefined || isMoved(one.data)) {
    if (one === undefined && index === undefined) throw new EditError(`${source}: there is no registry yet`);
    // It was moved. What an interrupted run, or a writer that knows no uid documents, has left out:
    const records = [...(await readAll(source, clusters)).values()];
    await Promise.all(records.map((record) => gate(() => clusters.claim(record))));
    return {
      ...(await clusters.raise(records.map(({ name }) => name))),
      written,
      present: records.map(({ name }) => name),
      isMoved: false,
    };
  }
  if (index !== undefined)
    throw new EditError(
      `${source}: there are an index and a document for all clusters; delete the one that is out of date (vault kv delete), and run this again`,
    );

  const copy = async (record: ClusterRecord): Promise<void> => {
    const found = await documents.readDocument(clusterAt(root, record.name), signal());
    if (found !== undefined && isDeepStrictEqual(found.data, JSON.parse(JSON.stringify(record)))) {
      await clusters.claim(record);
      present.push(record.name);
      return;
    }
    // A copy of an earlier run is out of date: the one document is what counts.
    await clusters.write(record, { record: undefined, version: found?.version ?? 0 });
    written.push(record.name);
  };
  const records = [...parseRegistry(source, JSON.stringify(one.data), backends, undefined).values()];
  await Promise.all(records.map((record) => gate(() => copy(record))));
  // Copies of clusters that were removed after an earlier run.
  const current = new Set(records.map(({ name }) => name));
  for (const name of await clusters.names()) {
    const stored = current.has(name) ? undefined : await clusters.read(name);
    if (stored?.record !== undefined) await clusters.markRemoved(stored.record, stored);
  }
  // From here on the documents count. Over the very version that was copied: no edit is lost.
  if (!(await documents.writeDocument(root, movedDocument, one.version, signal())))
    throw new EditError(`${source} was changed at the same time; run this again`);
  return { ...(await clusters.raise(records.map(({ name }) => name))), written, present, isMoved: true };
}
