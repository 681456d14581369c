// What runs on the machine: it sees the processes of its pods as a node does.
import { readdirSync, readFileSync } from "node:fs";

/** Processes whose command line, its words with blanks between, has a text. */
export function processesOf(text: string): readonly number[] {
  return readdirSync("/proc")
    .filter((pid) => {
      try {
        return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").includes(text);
      } catch {
        // It has ended.
        return false;
      }
    })
    .map(Number);
}
