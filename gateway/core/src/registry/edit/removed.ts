// The uids of clusters that were removed, for life: what was encrypted under one could be decrypted by whoever
// is given it again. Where a registry is files they stand in a file beside it. (docs/architecture.md #registry.)
import { appendFile } from "node:fs/promises";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import type { ClusterRecord } from "../record.ts";
import { readRemovedText, readRemovedUids } from "../removed-uids.ts";
import { EditError } from "./error.ts";

type Removed = Pick<ClusterRecord, "name" | "uid">;

export interface RemovedUids {
  /** The name that a uid stood under; undefined where it was never removed. @throws EditError */
  readonly nameOf: (uid: ClusterRecord["uid"]) => Promise<string | undefined>;
  /** Kept for life; written before the record goes. @throws EditError */
  readonly add: (record: Removed) => Promise<void>;
}

export type AddOptions = {
  /** The record of a removed cluster comes back, under its own name alone. */
  readonly restores?: boolean;
  /** Checks everything and writes nothing. */
  readonly dryRun?: boolean;
};

/** What a removal says against a record. @param owner the name that its uid was removed under */
export function removalProblem(
  { name, uid }: Removed,
  owner: string | undefined,
  restores: boolean,
): string | undefined {
  if (owner === undefined || (restores && owner === name)) return undefined;
  return owner === name
    ? `${name}: the uid ${uid} is that of the ${name} that was removed; a new cluster gets a new one, and 'claviger cluster import' brings that very record back`
    : `${name}: the uid ${uid} is that of ${owner}, which was removed, for life; nothing was changed`;
}

/** @throws EditError for the first record that has the uid of a removed cluster */
export async function assertNotRemoved(
  removed: RemovedUids,
  records: readonly Removed[],
  { restores = false }: AddOptions,
): Promise<void> {
  for (const record of records) {
    const problem = removalProblem(record, await removed.nameOf(record.uid), restores);
    if (problem !== undefined) throw new EditError(problem);
  }
}

const head = "# The uids of removed clusters: none of them is ever given to another cluster. Keep this file.\n";

async function asEdit<T>(read: Promise<T>): Promise<T> {
  try {
    return await read;
  } catch (error) {
    throw error instanceof ConfigError ? new EditError(error.message) : error;
  }
}

/** A line for each, UID and name; the file is made with the first. */
export function removedUidsFile(fileOf: () => Promise<string>): RemovedUids {
  return {
    nameOf: async (uid) => (await asEdit(readRemovedUids(await fileOf()))).get(uid),
    async add({ name, uid }) {
      const file = await fileOf();
      const text = (await asEdit(readRemovedText(file))) ?? head;
      if (text.split("\n").includes(`${uid} ${name}`)) return;
      // A short line at the end is written whole: two that remove at the same time lose none.
      await appendFile(file, `${text === head ? head : ""}${uid} ${name}\n`, { mode: 0o644 }).catch(
        (error: unknown) => {
          throw new EditError(`${file} cannot be written (${fileProblem(error)}); nothing was changed`);
        },
      );
    },
  };
}
