// How a program of ours begins and ends: its flags, a start that cannot work, and the end in order.
// (docs/architecture.md #shim.)
import { parseArgs, type ParseArgsConfig } from "node:util";
import { ConfigError } from "./config.ts";
import { isJournal, priorityOf } from "./journal.ts";
import type { Log } from "./log.ts";

/**
 * The flags of the command line.
 * @param args after the name of a command; all of them when absent
 * @throws ConfigError for one that there is not, or without its value
 */
export function readFlags<const Options extends NonNullable<ParseArgsConfig["options"]>>(
  options: Options,
  args?: readonly string[],
) {
  try {
    return parseArgs({ options, ...(args !== undefined && { args: [...args] }) }).values;
  } catch (error) {
    throw new ConfigError("command line", [`${(error as Error).message.split(". ")[0] ?? ""}; see --help`]);
  }
}

/**
 * Ends the process with status 2 and a line on stderr, for what an operator can mend: a configuration, a
 * port that is taken, an address that is not the machine's, a directory that cannot be written to. What
 * was opened by then would keep a process that serves nobody.
 * @param isExpected errors of the program's own that say what to do
 * @throws error for all else
 */
export function endStart(program: NodeJS.Process, name: string, error: unknown, isExpected = false): void {
  const { syscall } = error as NodeJS.ErrnoException;
  if (!isExpected && !(error instanceof ConfigError) && syscall === undefined) throw error;
  const text = `${name}: ${(error as Error).message}\n`;
  program.stderr.write(isJournal(program.env["JOURNAL_STREAM"]) ? text.replace(/^(?=.)/gm, priorityOf(50)) : text);
  program.exit(2);
}

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
