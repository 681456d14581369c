// The shim's log: JSON lines on standard error, written at once. The door to pino. Nothing of a request but its (shortened) uid is ever in it.
import { KmsError } from "@claviger/proto/errors.ts";
import { type Logger, pino } from "pino";

export type Log = Logger;
export type LogLevel = "debug" | "info" | "warn" | "error";

/** An error's name, reason or code, and those of its causes; none of the properties that libraries hang on theirs. */
export const describeError = (error: unknown): string => {
  if (!(error instanceof Error)) return typeof error;
  const code = error instanceof KmsError ? error.reason : (error as NodeJS.ErrnoException).code;
  const own = `${error.name}${code === undefined ? "" : ` ${code}`}: ${error.message}`;
  return error.cause === undefined ? own : `${own} <- ${describeError(error.cause)}`;
};

export const createLog = (level: LogLevel): Log =>
  pino(
    { level, base: { component: "shim" }, timestamp: pino.stdTimeFunctions.isoTime, serializers: { err: describeError } },
    pino.destination({ fd: 2, sync: true }),
  );
