// The uids of clusters that were removed, for life: what was encrypted under one could be decrypted by whoever
// is given it again. Where a registry is files they stand in a file beside it. (docs/architecture.md #registry.)
import { appendFile, readFile } from "node:fs/promises";
import { codeOf, fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import type { ClusterRecord } from "../record.ts";
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
const line = /^([0-9A-Z]{26}) ([a-z0-9.-]{1,253})$/;

/** A line for each, UID and name; the file is made with the first. */
export function removedUidsFile(fileOf: () => Promise<string>): RemovedUids {
  const read = async (file: string): Promise<string | undefined> => {
    try {
      return await readFile(file, "utf8");
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw new EditError(`${file} cannot be read (${fileProblem(error)})`);
    }
  };
  return {
    async nameOf(uid) {
      const file = await fileOf();
      const lines = ((await read(file)) ?? "").split("\n").filter((text) => text !== "" && !text.startsWith("#"));
      const bad = lines.find((text) => !line.test(text));
      if (bad !== undefined)
        throw new EditError(`${file} has a line that is no uid and name: ${JSON.stringify(bad.slice(0, 64))}`);
      return lines.map((text) => line.exec(text)).find((found) => found?.[1] === uid)?.[2];
    },
    async add({ name, uid }) {
      const file = await fileOf();
      const text = (await read(file)) ?? head;
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
