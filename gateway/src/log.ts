// The gateway's own log: JSON lines on standard error. The door to pino. Requests are in the audit log, not here.
import { inspect } from "node:util";
import { KmsError } from "@claviger/proto/errors.ts";
import { type Logger, pino } from "pino";

export type Log = Logger;
export type LogLevel = "debug" | "info" | "warn" | "error";

/** An error's kind, code and reason, and those of its causes: never the properties that libraries hang on theirs (requests, headers, bodies). */
export const describeError = (error: unknown): string => {
  if (!(error instanceof Error)) return inspect(error, { depth: 0 }).slice(0, 200);
  const code = error instanceof KmsError ? error.reason : (error as NodeJS.ErrnoException).code;
  const own = `${error.name}${code === undefined ? "" : ` ${code}`}: ${error.message}`;
  return error.cause === undefined ? own : `${own} <- ${describeError(error.cause)}`;
};

export const createLog = (level: LogLevel): Log =>
  pino(
    { level, base: { component: "gateway" }, timestamp: pino.stdTimeFunctions.isoTime, serializers: { err: describeError } },
    pino.destination({ fd: 2, sync: true }),
  );
