// How a program of ours ends: once, in order, with exit code 0. (docs/architecture.md #shim.)
import type { Log } from "./log.ts";

/**
 * At the first SIGTERM or SIGINT closes what there is and ends the process with code 0. SIGHUP ends
 * nothing: files are read again when they change, and opened again when they are written.
 * @param program the process itself, which only a main.ts touches
 * @param close finishes what is under way, within a time of its own
 * @param reopen opens written files anew, after a log rotation
 */
export function stopOnSignals(
  program: NodeJS.Process,
  log: Log,
  close: () => Promise<void>,
  reopen = (): void => {},
): void {
  let isStopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (isStopping) return;
    isStopping = true;
    log.info({ event: "draining", signal }, "finishing what is under way");
    await close();
    log.info({ event: "stopped" }, "stopped");
    program.exit(0);
  };
  program.on("SIGTERM", (signal) => void stop(signal));
  program.on("SIGINT", (signal) => void stop(signal));
  // Without a listener this signal would end the process.
  program.on("SIGHUP", () => reopen());
}
