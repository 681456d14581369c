// What the last real calls to a backend said, for /readyz: a backend that answers a health check and
// refuses all else is not ok. (docs/architecture.md #vault.)
import { type Reason, rowOf, toKmsError } from "@claviger/proto/wire/errors.ts";
import type { OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";

/** The calls that tell; each as an operator would name it. */
const operations = { wrap: "encrypt", unwrap: "decrypt", describe: "read key", promote: "promote" } as const;
export type Operation = keyof typeof operations;

export type WatchedBackend = OpenBackend & {
  /** What fails now: the operations, why, and since when; undefined when nothing does. */
  readonly problem: () => string | undefined;
};

/** One call that has ended. `result` is `ok` or a reason of the error table. */
export type BackendCall = { readonly operation: Operation; readonly result: string; readonly milliseconds: number };

/**
 * @param observe called with each call when it has ended
 * @param now Unix milliseconds
 */
export function watchOutcomes(
  backend: OpenBackend,
  observe: (call: BackendCall) => void = () => {},
  now: () => number = Date.now,
): WatchedBackend {
  const failing = new Map<Operation, { readonly reason: Reason; readonly since: number }>();
  const note = (operation: Operation, error: unknown): void => {
    const { reason } = toKmsError(error);
    const { kind } = rowOf(reason);
    // What a caller did, and how long it waits, says nothing of the backend; nor does one key.
    const counts = (kind === "outage" && reason !== "deadline_exceeded") || reason === "backend_denied";
    if (counts && failing.get(operation)?.reason !== reason) failing.set(operation, { reason, since: now() });
  };
  const watched =
    <A extends readonly unknown[], T>(operation: Operation, run: (...given: A) => Promise<T>) =>
    async (...given: A): Promise<T> => {
      const began = performance.now();
      const ended = (result: string): void => observe({ operation, result, milliseconds: performance.now() - began });
      try {
        const result = await run(...given);
        failing.delete(operation);
        ended("ok");
        return result;
      } catch (error) {
        note(operation, error);
        ended(toKmsError(error).reason);
        throw error;
      }
    };
  return {
    ...backend,
    wrap: watched("wrap", (...given) => backend.wrap(...given)),
    unwrap: watched("unwrap", (...given) => backend.unwrap(...given)),
    describe: watched("describe", (...given) => backend.describe(...given)),
    promote: watched("promote", (...given) => backend.promote(...given)),
    problem() {
      if (failing.size === 0) return undefined;
      return [...failing]
        .map(
          ([operation, { reason, since }]) =>
            `${operations[operation]}: ${reason} since ${new Date(since).toISOString()}`,
        )
        .join("; ");
    },
  };
}
