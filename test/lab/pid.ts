// Which process a number means: pids are used again, a pid with its start time is not.
import { readFileSync } from "node:fs";

/** When a process started, in the kernel's ticks; undefined when there is none of that number. */
export function startTimeOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ")[19];
  } catch {
    return undefined;
  }
}
