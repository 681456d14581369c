// Which test files there are.
import { readdirSync } from "node:fs";
import { join } from "node:path";

export const root = join(import.meta.dirname, "..", "..");

/** Every *.test.ts below test/FOLDER whose path contains one of `patterns`, or all of them. */
export function testFiles(folder: string, patterns: readonly string[] = []): readonly string[] {
  return readdirSync(join(root, "test", folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => join(root, "test", folder, name))
    .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)))
    .toSorted();
}
