// What the programs of `npm run` have in common: their usage, signals, problems and status.
import { MissingError } from "../parts/command.ts";

/** Of the command line. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Progress and problems; the report alone goes to standard output. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/**
 * Runs a program, and sets the status of the process: 130 for one that was stopped, 2 for a command line that
 * means nothing, 1 for what else it throws.
 * @param parse undefined when the usage is asked for. @throws UsageError, or what parseArgs throws
 * @param run resolves with the status
 */
export async function runProgram<O>({
  usage,
  parse,
  run,
}: {
  readonly usage: string;
  readonly parse: (args: string[]) => O | undefined;
  readonly run: (options: O, signal: AbortSignal) => Promise<number>;
}): Promise<void> {
  const stopping = new AbortController();
  const { signal } = stopping;
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(name, () => stopping.abort());
  try {
    const options = parse(process.argv.slice(2));
    if (options === undefined) process.stdout.write(usage);
    process.exitCode = options === undefined ? 0 : await run(options, signal);
  } catch (error) {
    const isUsage = error instanceof UsageError || (error instanceof TypeError && "code" in error);
    process.exitCode = signal.aborted ? 130 : isUsage ? 2 : 1;
    if (signal.aborted) return;
    if (isUsage) say(`${error.message}\n\n${usage}`);
    else if (error instanceof MissingError) say(error.message);
    else say(`It failed: ${error instanceof Error ? error.stack : String(error)}`);
  }
}
