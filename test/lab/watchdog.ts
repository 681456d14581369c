// Ends what a lab has left behind: told of every process by `+PID` and `-PID` lines, it kills those that remain when its input closes.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

// A process is its pid and its start time: the number alone may belong to another by then.
const startOf = (pid: number): string | undefined => {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ")[19];
  } catch {
    return undefined;
  }
};

const known = new Map<number, string | undefined>();

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const pid = Number(line.slice(1));
    if (line.startsWith("+")) known.set(pid, startOf(pid));
    else known.delete(pid);
  })
  .on("close", () => {
    for (const [pid, start] of known) {
      if (startOf(pid) !== start) continue;
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended meanwhile.
      }
    }
  });
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});
