// Says in the log which calls failed. A storm of failures is a line a second, not a line each: metrics have the
// count.
import { type KmsError, rowOf } from "@claviger/proto/wire/errors.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";

const quietMs = 1000;

/** @returns called with each call that failed */
export function createFailureLog(log: Log): (method: string, error: KmsError) => void {
  const quietUntil = new Map<string, number>();
  return (method, error) => {
    if (error.reason === "internal")
      log.error({ event: "internal-error", method, err: error }, "a call failed for a reason that has no name");
    else if (rowOf(error.reason).kind === "caller")
      log.debug({ event: "call-failed", method, err: error }, "a call failed");
    else if (performance.now() >= (quietUntil.get(error.reason) ?? 0)) {
      quietUntil.set(error.reason, performance.now() + quietMs);
      log.warn(
        { event: "call-failed", method, err: error },
        "a call failed; further ones of this second are counted only",
      );
    }
  };
}
