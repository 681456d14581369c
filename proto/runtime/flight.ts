// One item on its way through a batcher, and the callers that wait for it. Knows no queue.
import { KmsError } from "../wire/errors.ts";
import { abortReason } from "./abort.ts";

/** setTimeout's own bound; longer ones would fire at once. */
export const longestTimerMs = 2 ** 31 - 1;

export type Caller<R> = {
  readonly deadline: number;
  /** With less time than a call takes left until then, the item is not sent for this caller. */
  readonly answerBy: number;
  readonly resolve: (result: R) => void;
  readonly reject: (error: KmsError) => void;
};
/** One call to the backend. Ends early when no flight of it has a caller. */
export type Call = { readonly controller: AbortController; wanted: number };
/** One item on its way, for all its callers. Without callers it is in no queue and nobody joins it. */
export type Flight<I, R> = {
  readonly item: I;
  readonly group: string;
  readonly bytes: number;
  readonly identity: string | undefined;
  readonly callers: Set<Caller<R>>;
  call: Call | undefined;
  /** Kept for its TTL, then discarded. */
  result: { readonly value: R } | undefined;
};

export function deadlineOf<I, R>({ callers }: Flight<I, R>): number {
  let latest = 0;
  for (const { deadline } of callers) latest = Math.max(latest, deadline);
  return latest;
}

/**
 * Makes a caller wait for the flight's result, for as long as it may.
 * @param wait `deadline` is in the milliseconds of `now`; `onLeave` rejects a caller whose time is
 * over, or whose signal has ended
 */
export function joinFlight<I, R>(
  flight: Flight<I, R>,
  wait: {
    readonly deadline: number;
    readonly answerBy: number;
    readonly signal: AbortSignal;
    readonly now: () => number;
    readonly onLeave: (caller: Caller<R>, error: KmsError) => void;
  },
): Promise<R> {
  const { deadline, answerBy, signal, now, onLeave } = wait;
  return new Promise<R>((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    };
    const caller: Caller<R> = {
      deadline,
      answerBy,
      resolve: (result) => {
        stop();
        resolve(result);
      },
      reject: (error) => {
        stop();
        reject(error);
      },
    };
    const onAbort = (): void => onLeave(caller, abortReason(signal));
    const onTimeout = (): void => onLeave(caller, new KmsError("deadline_exceeded"));
    const timer =
      deadline === Number.POSITIVE_INFINITY
        ? undefined
        : setTimeout(onTimeout, Math.min(deadline - now(), longestTimerMs));
    signal.addEventListener("abort", onAbort);
    flight.callers.add(caller);
  });
}
