// Files that doctor reads: one that cannot be read is a finding, and no end of the run.
import { readFileSync } from "node:fs";
import { CheckError } from "@claviger/proto/runtime/check.ts";
import { fileProblem } from "@claviger/proto/runtime/file-problem.ts";

/** @throws CheckError */
export function readChecked(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new CheckError(`${file} cannot be read (${fileProblem(error)})`);
  }
}
