// Edits a registry that is a directory with a file for each cluster. (docs/architecture.md #registry.)
import { existsSync } from "node:fs";
import { readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { clusterName } from "@claviger/proto/wire/names.ts";
import { clusterOfFile, readRecordFile } from "../directory.ts";
import { type ClusterRecord, type Registry, registryDigest } from "../record.ts";
import { EditError, isThere, unknownCluster } from "./error.ts";
import { fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import { removedUidsOfDirectory } from "../removed-uids.ts";
import { type AddOptions, assertNotRemoved, removedUidsFile } from "./removed.ts";
import { checkedRecord, withChangeInFile } from "./text.ts";
import { type NewRecord, printRecord } from "./record-text.ts";
import type { Edited, RegistryEditor } from "./editor.ts";
import { makeFile, readText, replaceFile } from "./source.ts";

/** A record as a file of its own has it. */
function printFile(record: NewRecord): string {
  return printRecord(record).replaceAll(/^(?:- | {2})/gm, "");
}

export function directoryEditor({
  directory,
  backends,
}: {
  readonly directory: string;
  readonly backends: Pick<ReadonlySet<string>, "has">;
}): RegistryEditor {
  const fileOf = (name: string): string => {
    const file = [`${name}.yaml`, `${name}.yml`].find((candidate) => existsSync(join(directory, candidate)));
    if (!clusterName.is(name) || file === undefined) throw unknownCluster(name);
    return file;
  };
  const checked = (file: string, text: string): ClusterRecord => {
    const path = join(directory, file);
    return checkedRecord(path, readRecordFile(path, text, clusterOfFile(file) ?? ""), backends);
  };
  const list = async (missing: "error" | "empty"): Promise<readonly string[]> => {
    try {
      return (await readdir(directory)).filter((file) => clusterOfFile(file) !== undefined).toSorted();
    } catch (error) {
      if (missing === "empty" && !existsSync(directory)) return [];
      throw new EditError(`the registry ${directory} cannot be read (${fileProblem(error)})`);
    }
  };
  const all = async (missing: "error" | "empty" = "error"): Promise<Registry> => {
    const records = new Map<ClusterRecord["name"], ClusterRecord>();
    const owners = new Map<string, string>();
    const problems: string[] = [];
    for (const file of await list(missing))
      try {
        const record = checked(file, await readText(join(directory, file)));
        const owner = owners.get(record.uid);
        if (owner !== undefined) problems.push(`${file}: the uid ${record.uid} stands in ${owner} as well`);
        if (records.has(record.name)) problems.push(`${file}: the name ${record.name} stands twice`);
        owners.set(record.uid, file);
        records.set(record.name, record);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        problems.push(...error.problems.map((line) => `${file}: ${line}`));
      }
    if (problems.length > 0) throw new ConfigError(directory, problems);
    return records;
  };
  const removed = removedUidsFile(() => Promise.resolve(removedUidsOfDirectory(directory)));
  const edited = async (): Promise<Edited> => ({ version: registryDigest(await all()) });

  const addAll = async (
    select: (before: Registry) => readonly NewRecord[],
    options: AddOptions = {},
  ): Promise<Edited> => {
    const before = await all("empty");
    const records = select(before);
    const owners = new Map([...before.values()].map(({ uid, name }) => [uid, name]));
    // What is wrong with one of them leaves all of them out.
    for (const record of records) {
      const owner = owners.get(record.uid);
      if (before.has(record.name)) throw isThere(record.name);
      if (owner !== undefined)
        throw new EditError(`${record.name}: the uid ${record.uid} is that of ${owner}, for life; nothing was changed`);
      owners.set(record.uid, record.name);
      checked(`${record.name}.yaml`, printFile(record));
    }
    await assertNotRemoved(removed, records, options);
    if (options.dryRun === true) return { version: registryDigest(before) };
    for (const record of records) await makeFile(join(directory, `${record.name}.yaml`), printFile(record));
    return await edited();
  };

  return {
    name: directory,
    backends,
    all,
    one: async (name) => {
      const file = fileOf(name);
      return checked(file, await readText(join(directory, file)));
    },
    add: (records, options) => addAll(() => records, options),
    addAll,
    async change(name, next) {
      const file = fileOf(name);
      const path = join(directory, file);
      const text = await readText(path);
      const record = checked(file, text);
      const changed = withChangeInFile(path, text, record, next);
      if (changed !== text) {
        checked(file, changed);
        await replaceFile(path, text, changed);
      }
      return { earlier: record, ...(await edited()) };
    },
    async remove(name) {
      const file = fileOf(name);
      const path = join(directory, file);
      await removed.add(checked(file, await readText(path)));
      await unlink(path).catch((error: unknown) => {
        throw new EditError(`${path} cannot be removed (${fileProblem(error)})`);
      });
      return await edited();
    },
  };
}
