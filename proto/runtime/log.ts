// The programs' own log: JSON lines on standard error, written at once where somebody takes them; a
// log that nobody reads costs lines and never time. The only file that imports pino. Requests are in
// the audit log, not here.
import { type Logger, pino } from "pino";
import { KmsError } from "../wire/errors.ts";
import { isJournal, priorityOf } from "./journal.ts";
import { openLineOutput } from "./output.ts";

export type Log = Logger;
export type LogLevel = "debug" | "info" | "warn" | "error";

/**
 * An error's name, reason or code, and those of its causes: none of the properties that libraries
 * hang on theirs (requests, headers, bodies).
 */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const code = error instanceof KmsError ? error.reason : (error as NodeJS.ErrnoException).code;
  const own = `${error.name}${code === undefined ? "" : ` ${code}`}: ${error.message}`;
  return error.cause === undefined ? own : `${own} <- ${describeError(error.cause)}`;
}

/** Says nothing: for what is tried and reported in another way. */
export const silentLog: Log = pino({ enabled: false });

/**
 * @param component `gateway` or `shim`; stands in every line
 * @param journalStream $JOURNAL_STREAM: systemd's journal gets the level of each line in its own way as well
 */
export function createLog(component: string, level: LogLevel, journalStream?: string): Log {
  const prefix = isJournal(journalStream) ? priorityOf : () => "";
  const output = openLineOutput(2, (count) => {
    const time = new Date().toISOString();
    const line = {
      level: 40,
      time,
      component,
      event: "log-lines-dropped",
      count,
      msg: "nobody read the log for a while",
    };
    return `${prefix(40)}${JSON.stringify(line)}\n`;
  });
  const lines = {
    // pino says the level of a line before it writes it.
    [pino.symbols.needsMetadataGsym]: true as const,
    lastLevel: 40,
    write(line: string) {
      output.write(prefix(this.lastLevel) + line);
    },
  };
  return pino(
    { level, base: { component }, timestamp: pino.stdTimeFunctions.isoTime, serializers: { err: describeError } },
    lines,
  );
}
