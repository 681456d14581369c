// What lies in files: all of a folder, as a disk that was taken would hold it.
import { closeSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { createFinder, type Pattern } from "./finder.ts";

const chunkSize = 16 * 1024 * 1024;

/** The plain files under a path, which may be one itself. */
export function filesUnder(path: string): readonly string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/**
 * @param paths files and folders
 * @returns how often each name was found
 * @throws Error when there is no byte to search
 */
export function searchFiles(paths: readonly string[], patterns: readonly Pattern[]): ReadonlyMap<string, number> {
  const find = createFinder(patterns);
  const overlap = Math.max(...patterns.map(({ bytes }) => bytes.length)) - 1;
  const found = new Map<string, number>();
  const chunk = Buffer.alloc(chunkSize + overlap);
  let searched = 0;
  for (const file of paths.flatMap(filesUnder)) {
    const fd = openSync(file, "r");
    try {
      for (let at = 0; ; at += chunkSize) {
        const size = readSync(fd, chunk, 0, chunk.length, at);
        searched += size;
        find(chunk.subarray(0, size), ({ name }) => void found.set(name, (found.get(name) ?? 0) + 1));
        if (size < chunk.length) break;
      }
    } finally {
      closeSync(fd);
    }
  }
  if (searched === 0) throw new Error(`there is nothing to search in ${paths.join(", ")}`);
  return found;
}
