// Which of several remote ends to ask: gateways for a shim, addresses of a Vault for a gateway. One
// healthy end among them is enough. Knows neither HTTP nor KMS. (docs/architecture.md #endpoints.)
import { KmsError, toKmsError } from "../wire/errors.ts";
import { abortReason, raceAbort } from "./abort.ts";
import { type Clock, systemClock } from "./clock.ts";

export type PoolOptions<E> = {
  readonly endpoints: readonly E[];
  /** `ordered`: the first one that is up. `fastest`: the quickest one that is up, with some chance. */
  readonly choice: "ordered" | "fastest";
  /** Resolves when the endpoint would serve. Asked in the background, after a fault. */
  readonly probe: (endpoint: E, signal: AbortSignal) => Promise<void>;
  /** Is this the endpoint's fault? Any other error is its decision, and final. */
  readonly isFault: (error: KmsError) => boolean;
  /**
   * Is it a fault of one that answers, but cannot serve now? It is not down, and asked after the
   * others for a while.
   */
  readonly isBusy?: (error: KmsError) => boolean;
  /** The error to pass on when every endpoint failed; the first of two that say as much. */
  readonly moreSpecific?: (a: KmsError, b: KmsError) => KmsError;
  /** Called when an endpoint goes down or comes back, and not when it is merely slow. */
  readonly onChange?: (endpoint: E, failure: KmsError | undefined) => void;
  /** Called for each attempt beyond the first of a call. */
  readonly onExtra?: () => void;
  readonly clock?: Clock;
};

export type PoolCall<E, T> = {
  /** Asks one endpoint. Aborted when its answer is no longer wanted; may go on for ever then. */
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

export type EndpointState<E> = {
  readonly endpoint: E;
  readonly isUp: boolean;
  /** Why it is down. */
  readonly failure: KmsError | undefined;
  /** Monotonic milliseconds of the last change. */
  readonly since: number;
  /** Usual time of an answer in milliseconds; undefined before the first. */
  readonly latencyMs: number | undefined;
};

export interface EndpointPool<E> {
  /** The first good answer, or the decision of an endpoint. @throws KmsError */
  run<T>(call: PoolCall<E, T>): Promise<T>;
  /** Takes another list; calls under way that fail go on with it. */
  replace(endpoints: readonly E[]): void;
  states(): readonly EndpointState<E>[];
  close(): void;
}

type Entry<E> = {
  readonly endpoint: E;
  failure: KmsError | undefined;
  since: number;
  latencyMs: number | undefined;
  pauseMs: number;
  /** Until then it is asked after the others: it answers, and cannot serve. */
  busyUntil: number;
  timer: NodeJS.Timeout | undefined;
  /** A probe is under way: of one that is up, because it did not answer in time. Asked after the others. */
  isProbed: boolean;
};

const firstProbeMs = 100;
const lastProbeMs = 5000;
/** A slow endpoint is not a dead one: a probe may take its time. */
const probeMs = 5000;
/** A tenth of the calls may be hedged or repeated, with a reserve for a bad moment. */
const budgetPerCall = 0.1;
const budgetMax = 20;
/** Between two rounds over all endpoints. */
const repeatPauseMs = 50;
const minHedgeMs = 30;
const minOverdueMs = 200;
const unknownOverdueMs = 500;
/** The share of a call's time in which all its endpoints have been begun with. */
const startShare = 0.4;

export function createEndpointPool<E>(options: PoolOptions<E>): EndpointPool<E> {
  const { choice, probe, isFault, moreSpecific = (a) => a, onChange = () => {}, onExtra = () => {} } = options;
  const { isBusy = () => false, clock = systemClock } = options;
  const enter = (endpoint: E): Entry<E> => ({
    endpoint,
    failure: undefined,
    since: clock.now(),
    latencyMs: undefined,
    pauseMs: firstProbeMs,
    busyUntil: 0,
    timer: undefined,
    isProbed: false,
  });
  let entries: readonly Entry<E>[] = options.endpoints.map(enter);
  let budget = budgetMax;
  let isClosed = false;

  const markUp = (entry: Entry<E>): void => {
    entry.pauseMs = firstProbeMs;
    entry.busyUntil = 0;
    if (entry.failure === undefined) return;
    if (entry.timer !== undefined) clock.clearTimeout(entry.timer);
    entry.failure = undefined;
    entry.since = clock.now();
    onChange(entry.endpoint, undefined);
  };
  const markDown = (entry: Entry<E>, failure: KmsError): void => {
    if (isClosed || !entries.includes(entry) || entry.failure !== undefined) return;
    entry.failure = failure;
    entry.since = clock.now();
    onChange(entry.endpoint, failure);
    probeLater(entry, Math.max(entry.pauseMs, Math.min(failure.retryAfterMs ?? 0, 60_000)));
  };
  const markBusy = (entry: Entry<E>, { retryAfterMs = entry.pauseMs }: KmsError): void => {
    entry.busyUntil = clock.now() + Math.min(retryAfterMs, 60_000);
    entry.pauseMs = Math.min(entry.pauseMs * 2, lastProbeMs);
  };
  const probeLater = (entry: Entry<E>, milliseconds: number): void => {
    if (isClosed || !entries.includes(entry)) return;
    entry.pauseMs = Math.min(entry.pauseMs * 2, lastProbeMs);
    const jitter = 0.75 + Math.random() / 2;
    entry.timer = clock.setTimeout(() => void look(entry), milliseconds * jitter);
    entry.timer.unref?.();
  };
  const look = async (entry: Entry<E>): Promise<void> => {
    if (isClosed || entry.isProbed || !entries.includes(entry)) return;
    entry.isProbed = true;
    const late = new AbortController();
    const timer = clock.setTimeout(() => late.abort(), probeMs);
    timer.unref?.();
    const { pauseMs } = entry;
    const error = await raceAbort(probe(entry.endpoint, late.signal), late.signal).then(() => undefined, toKmsError);
    clock.clearTimeout(timer);
    entry.isProbed = false;
    if (error === undefined) {
      markUp(entry);
      // An endpoint that looks well and fails again at once is looked at ever more rarely.
      entry.pauseMs = pauseMs;
    } else if (entry.failure === undefined) markDown(entry, error);
    else probeLater(entry, entry.pauseMs);
  };

  const order = (): readonly Entry<E>[] => {
    const rank = (entry: Entry<E>): number => (entry.latencyMs ?? 5) * (0.5 + Math.random());
    const ranked = entries.map((entry) => ({ entry, value: choice === "fastest" ? rank(entry) : 0 }));
    return ranked
      .toSorted((a, b) => doubtOf(a.entry) - doubtOf(b.entry) || a.value - b.value)
      .map(({ entry }) => entry);
  };

  const doubtOf = ({ failure, isProbed, busyUntil }: Entry<E>): number =>
    failure !== undefined ? 2 : isProbed || clock.now() < busyUntil ? 1 : 0;

  const spend = (): boolean => {
    if (budget < 1) return false;
    budget -= 1;
    return true;
  };

  /**
   * When to begin with the next endpoint beside one that has not answered: `hedgeMs` costs budget,
   * `overdueMs` is free, since the endpoint is later than it ever is.
   */
  const patience = ({ latencyMs, failure }: Entry<E>, leftMs: number, untried: number) => {
    const share = (leftMs * startShare) / Math.max(1, untried);
    if (latencyMs === undefined || failure !== undefined)
      return { hedgeMs: Math.min(100, share), overdueMs: Math.min(unknownOverdueMs, share) };
    const overdueMs = Math.max(1.5 * latencyMs, Math.min(Math.max(minOverdueMs, 6 * latencyMs), share));
    return { hedgeMs: Math.min(Math.max(minHedgeMs, 4 * latencyMs), overdueMs), overdueMs };
  };

  /** One round: each endpoint at most once. Resolves with the answer or what the round came to. */
  const round = <T>(
    call: PoolCall<E, T>,
    candidates: readonly Entry<E>[],
    endsAt: number,
  ): Promise<{ readonly value: T } | { readonly failure: KmsError; readonly isFinal: boolean }> =>
    new Promise((resolve) => {
      const { attempt, signal, hedge, isUntouched, discard } = call;
      const stop = new AbortController();
      const timers = new Set<NodeJS.Timeout>();
      let asked = 0;
      let running = 0;
      let failure: KmsError | undefined;
      let isOver = false;

      /** Those that have been asked and have not answered, with when, and when they were later than ever. */
      const pending = new Map<Entry<E>, { readonly began: number; readonly overdueMs: number }>();
      const end = (result: { readonly value: T } | { readonly failure: KmsError; readonly isFinal: boolean }): void => {
        isOver = true;
        signal.removeEventListener("abort", onAbort);
        for (const timer of timers) clock.clearTimeout(timer);
        for (const [entry, { began, overdueMs }] of pending) {
          const waited = clock.now() - began;
          if (waited < overdueMs) continue;
          // Later than it ever is: a probe decides what that means.
          entry.latencyMs = Math.max(entry.latencyMs ?? 0, waited);
          if (entry.failure === undefined) void look(entry);
        }
        stop.abort();
        resolve(result);
      };
      const onAbort = (): void => end({ failure: abortReason(signal), isFinal: true });
      const after = (milliseconds: number, run: () => void): void => {
        timers.add(clock.setTimeout(() => void (isOver || run()), milliseconds));
      };

      const begin = async (entry: Entry<E>): Promise<void> => {
        const began = clock.now();
        try {
          const value = await attempt(entry.endpoint, stop.signal);
          const took = clock.now() - began;
          pending.delete(entry);
          if (isOver) return discard(value);
          entry.latencyMs = entry.latencyMs === undefined ? took : entry.latencyMs * 0.8 + took * 0.2;
          markUp(entry);
          end({ value });
        } catch (thrown) {
          running -= 1;
          pending.delete(entry);
          if (isOver) return;
          const error = toKmsError(thrown);
          if (!isFault(error)) return end({ failure: error, isFinal: true });
          failure = failure === undefined ? error : moreSpecific(failure, error);
          if (isBusy(error)) markBusy(entry, error);
          else markDown(entry, error);
          if (isUntouched !== undefined && !isUntouched(error)) return end({ failure, isFinal: true });
          if (asked < candidates.length) return next();
          if (running === 0) end({ failure, isFinal: false });
        }
      };

      const next = (): void => {
        const entry = candidates[asked++];
        if (entry === undefined) return;
        running += 1;
        if (asked > 1) onExtra();
        const untried = candidates.length - asked;
        const index = asked;
        const { hedgeMs, overdueMs } = patience(entry, endsAt - clock.now(), untried);
        const goOn = (): void => {
          if (asked === index && untried > 0 && isUntouched === undefined) next();
        };
        if (hedge && untried > 0 && hedgeMs < overdueMs)
          after(hedgeMs, () => void (asked === index && spend() && goOn()));
        after(overdueMs, goOn);
        pending.set(entry, { began: clock.now(), overdueMs });
        void begin(entry);
      };

      if (signal.aborted) return onAbort();
      signal.addEventListener("abort", onAbort, { once: true });
      // The caller's deadline holds in every phase, whatever an attempt does when it is aborted.
      after(Math.max(0, endsAt - clock.now()), () =>
        end({ failure: failure ?? new KmsError("deadline_exceeded"), isFinal: true }),
      );
      next();
      return undefined;
    });

  return {
    async run(call) {
      budget = Math.min(budgetMax, budget + budgetPerCall);
      const endsAt = clock.now() + call.leftMs;
      for (;;) {
        const list = entries;
        const result = await round(call, order(), endsAt);
        if ("value" in result) return result.value;
        const { failure, isFinal } = result;
        const hasTime = endsAt - clock.now() > repeatPauseMs && !call.signal.aborted;
        if (isFinal || !hasTime) throw failure;
        // The list was replaced under this call: it goes on with the new one, at no cost.
        if (list !== entries) continue;
        if (!call.repeat || !spend()) throw failure;
        await new Promise<void>((resolve) => {
          clock.setTimeout(resolve, repeatPauseMs);
        });
      }
    },
    replace(endpoints) {
      for (const { timer } of entries) if (timer !== undefined) clock.clearTimeout(timer);
      entries = endpoints.map(enter);
    },
    states: () =>
      entries.map(({ endpoint, failure, since, latencyMs }) => ({
        endpoint,
        isUp: failure === undefined,
        failure,
        since,
        latencyMs,
      })),
    close() {
      isClosed = true;
      for (const { timer } of entries) if (timer !== undefined) clock.clearTimeout(timer);
    },
  };
}
