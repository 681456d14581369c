// Ends what a lab has left behind: told of every process by `+PID` and `-PID` lines, it kills those
// that remain when its input closes.
import { createInterface } from "node:readline";
import { startTimeOf } from "./pid.ts";

const known = new Map<number, string | undefined>();

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const pid = Number(line.slice(1));
    if (line.startsWith("+")) known.set(pid, startTimeOf(pid));
    else known.delete(pid);
  })
  .on("close", () => {
    for (const [pid, start] of known) {
      if (startTimeOf(pid) !== start) continue;
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended meanwhile.
      }
    }
  });
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});
