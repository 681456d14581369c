// One round over several remote ends: each is asked once at most, the next one beside those that have
// not answered, until one answers. Knows nothing of what came before. (docs/architecture.md #endpoints.)
import { KmsError, toKmsError } from "../wire/errors.ts";
import { abortReason } from "./abort.ts";
import type { Clock } from "./clock.ts";
import type { EndpointHealth, Entry } from "./endpoint-health.ts";

/** Why an attempt is aborted whose answer is not needed: another endpoint was faster. Its connection is good. */
export const lost = Symbol("lost");

export type PoolCall<E, T> = {
  /**
   * Asks one endpoint. Aborted when its answer is no longer wanted, with `lost` as the reason where
   * another one was faster, and else with why the round ended; may go on for ever then.
   */
  readonly attempt: (endpoint: E, signal: AbortSignal) => Promise<T>;
  /** Milliseconds that the caller waits. */
  readonly leftMs: number;
  /** The caller has left, or its time is over. */
  readonly signal: AbortSignal;
  /** Ask a second endpoint when the first takes longer than it usually does: costs nothing but a call. */
  readonly hedge: boolean;
  /** Where two endpoints must not see it, the next is asked only if the failed one did nothing. */
  readonly isUntouched?: (error: KmsError) => boolean;
  /** Begin again, out of the budget, when every endpoint has failed and there is time. */
  readonly repeat: boolean;
  /** Takes a result that came too late. */
  readonly discard: (late: T) => void;
};

/** A failure is final when no other round may follow. */
export type RoundResult<T> = { readonly value: T } | { readonly failure: KmsError; readonly isFinal: boolean };

export type RoundOptions<E> = {
  readonly health: EndpointHealth<E>;
  readonly isFault: (error: KmsError) => boolean;
  /** Does it say that it has too much to do? Where the next one has just said so as well, to ask it costs a hedge. */
  readonly isFull: (error: KmsError) => boolean;
  readonly moreSpecific: (a: KmsError, b: KmsError) => KmsError;
  readonly onExtra: () => void;
  /** Takes the price of a hedge out of the budget, if there is enough. */
  readonly spend: () => boolean;
  readonly clock: Clock;
};

const minHedgeMs = 30;
const minOverdueMs = 200;
/** An endpoint of which nothing is known may be dead: it is not worth a longer wait. */
const unknownOverdueMs = 50;
/** The share of a call's time in which all its endpoints have been begun with. */
const startShare = 0.4;

/**
 * After how many milliseconds beside one that has not answered: `hedgeMs`, the next endpoint for the
 * price of a hedge; `nextMs`, the next one for nothing; `overdueMs`, later than it ever is. One that is
 * down waits for its whole share.
 * @param shareMs what each endpoint not yet asked has of the time in which all are begun with
 */
function patience<E>({ latencyMs, failure }: Entry<E>, isFirst: boolean, shareMs: number) {
  if (latencyMs === undefined || failure !== undefined) {
    const overdueMs = Math.min(unknownOverdueMs, shareMs);
    return { hedgeMs: overdueMs, nextMs: overdueMs, overdueMs };
  }
  const overdueMs = Math.max(1.5 * latencyMs, Math.min(Math.max(minOverdueMs, 6 * latencyMs), shareMs));
  // Slow is not dead, but once one is overdue the others must all have their chance in time.
  const nextMs = isFirst ? overdueMs : Math.min(overdueMs, shareMs);
  return { hedgeMs: Math.min(Math.max(minHedgeMs, 4 * latencyMs), nextMs), nextMs, overdueMs };
}

/**
 * Resolves with the answer, or with what the round came to.
 * @param endsAt in the milliseconds of the clock
 */
export function runRound<E, T>(
  { health, isFault, isFull, moreSpecific, onExtra, spend, clock }: RoundOptions<E>,
  { attempt, signal, hedge, isUntouched, discard }: PoolCall<E, T>,
  endsAt: number,
): Promise<RoundResult<T>> {
  return new Promise((resolve) => {
    const candidates = health.order();
    const stop = new AbortController();
    const timers = new Set<NodeJS.Timeout>();
    /** Those that have been asked and have not answered, with when, and when they were later than ever. */
    const pending = new Map<Entry<E>, { readonly began: number; readonly overdueMs: number }>();
    const startBy = clock.now() + (endsAt - clock.now()) * startShare;
    let asked = 0;
    let failure: KmsError | undefined;
    let isOver = false;

    const end = (result: RoundResult<T>): void => {
      isOver = true;
      signal.removeEventListener("abort", onAbort);
      for (const timer of timers) clock.clearTimeout(timer);
      for (const [entry, { began, overdueMs }] of pending) {
        const waitedMs = clock.now() - began;
        if (waitedMs >= overdueMs) health.late(entry, waitedMs);
      }
      if (pending.size > 0) stop.abort("value" in result ? lost : result.failure);
      resolve(result);
    };
    const onAbort = (): void => end({ failure: abortReason(signal), isFinal: true });
    const after = (milliseconds: number, run: () => void): void => {
      timers.add(clock.setTimeout(() => void (isOver || run()), milliseconds));
    };

    const isFullToo = (entry: Entry<E> | undefined): boolean =>
      entry?.busy !== undefined && health.isBusy(entry) && isFull(entry.busy);
    const fail = (entry: Entry<E>, error: KmsError): void => {
      if (!isFault(error)) return end({ failure: error, isFinal: true });
      failure = failure === undefined ? error : moreSpecific(failure, error);
      health.failed(entry, error);
      if (isUntouched !== undefined && !isUntouched(error)) return end({ failure, isFinal: true });
      // Of ends that all have too much to do each call would ask all: a storm as many times as great.
      const isFree = !isFull(error) || !isFullToo(candidates[asked]);
      if (asked < candidates.length && (isFree || spend())) return next();
      if (pending.size === 0) end({ failure, isFinal: false });
      return undefined;
    };
    const ask = async (entry: Entry<E>, began: number): Promise<void> => {
      try {
        const value = await attempt(entry.endpoint, stop.signal);
        pending.delete(entry);
        health.answered(entry, clock.now() - began);
        if (isOver) return discard(value);
        end({ value });
      } catch (thrown) {
        pending.delete(entry);
        if (!isOver) fail(entry, toKmsError(thrown));
      }
    };
    const next = (): void => {
      const entry = candidates[asked++];
      if (entry === undefined) return;
      if (asked > 1) onExtra();
      const began = clock.now();
      const untried = candidates.length - asked;
      const index = asked;
      const shareMs = Math.max(0, startBy - began) / Math.max(1, untried);
      const { hedgeMs, nextMs, overdueMs } = patience(entry, index === 1, shareMs);
      const mayGoOn = (): boolean => asked === index && isUntouched === undefined;
      const beside = candidates[index];
      // Probes look after one that is down. Thousands of callers that an up one is slow for must not all
      // try it as well: it would never come back.
      const isDown = beside?.failure !== undefined && entry.failure === undefined && entry.latencyMs !== undefined;
      if (hedge && hedgeMs < nextMs && beside !== undefined && !isDown && !health.isBusy(beside))
        after(hedgeMs, () => void (mayGoOn() && spend() && next()));
      after(isDown ? Math.max(nextMs, shareMs) : nextMs, () => void (mayGoOn() && next()));
      pending.set(entry, { began, overdueMs });
      void ask(entry, began);
    };

    if (signal.aborted) return onAbort();
    signal.addEventListener("abort", onAbort);
    // The caller's deadline holds in every phase, whatever an attempt does when it is aborted.
    after(Math.max(0, endsAt - clock.now()), () =>
      end({ failure: failure ?? new KmsError("deadline_exceeded"), isFinal: true }),
    );
    next();
    return undefined;
  });
}
