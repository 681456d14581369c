// Why a call ended early, in the words of the error table.
import { KmsError } from "../wire/errors.ts";

/**
 * The reason behind an aborted signal: its own KmsError, `deadline_exceeded` for a time-out,
 * `canceled` otherwise.
 */
export function abortReason(signal: AbortSignal): KmsError {
  const reason: unknown = signal.reason;
  if (reason instanceof KmsError) return reason;
  return new KmsError(reason instanceof Error && reason.name === "TimeoutError" ? "deadline_exceeded" : "canceled");
}

/** What `promise` gives, or the end of the signal if that comes first. */
export function raceAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const end = (): void => reject(abortReason(signal));
    const stop = (): void => signal.removeEventListener("abort", end);
    if (signal.aborted) end();
    signal.addEventListener("abort", end);
    promise.then(
      (value) => {
        stop();
        resolve(value);
      },
      (error: unknown) => {
        stop();
        reject(error);
      },
    );
  });
}
