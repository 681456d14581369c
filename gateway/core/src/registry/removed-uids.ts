// The file beside a registry of files that names the clusters which were removed, with their uids: a line for each.
// (docs/architecture.md #registry.)
import { readFile, realpath } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { codeOf, fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import { type ClusterName, clusterName } from "@claviger/proto/wire/names.ts";

const line = /^([0-9A-Z]{26}) (.{1,253})$/;

/** Of a registry in one file: beside the file that a link leads to. */
export async function removedUidsOfFile(file: string): Promise<string> {
  return `${await realpath(file).catch(() => file)}.removed-uids`;
}

/** Of a registry in a directory. */
export function removedUidsOfDirectory(directory: string): string {
  return join(directory, "removed-uids");
}

/** The text; undefined where there is no such file. @throws ConfigError */
export async function readRemovedText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new ConfigError(file, [`cannot be read (${fileProblem(error)})`]);
  }
}

/** Names by uids; none where there is no such file. @throws ConfigError */
export async function readRemovedUids(file: string): Promise<ReadonlyMap<string, ClusterName>> {
  const lines = ((await readRemovedText(file)) ?? "")
    .split("\n")
    .filter((text) => text !== "" && !text.startsWith("#"));
  return new Map(
    lines.map((text) => {
      const [, uid = "", name = ""] = line.exec(text) ?? [];
      if (!clusterName.is(name))
        throw new ConfigError(file, [`has a line that is no uid and name: ${JSON.stringify(text.slice(0, 64))}`]);
      return [uid, name];
    }),
  );
}
