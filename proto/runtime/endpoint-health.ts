// What is known of each of several remote ends: whether it is up, how quick it usually is, and the
// probes that find it out. Does not ask for anything but probes. (docs/architecture.md #endpoints.)
import { KmsError, toKmsError } from "../wire/errors.ts";
import { raceAbort } from "./abort.ts";
import { type Clock, systemClock } from "./clock.ts";

export type HealthOptions<E> = {
  readonly endpoints: readonly E[];
  /** What of an endpoint is the same in another list: what is known of it is kept when the list is replaced. */
  readonly nameOf: (endpoint: E) => string;
  /** `ordered`: the first one that is up. `fastest`: the quickest one that is up, with some chance. */
  readonly choice: "ordered" | "fastest";
  /** Resolves when the endpoint would serve. Asked in the background, after a fault. */
  readonly probe: (endpoint: E, signal: AbortSignal) => Promise<void>;
  /** Probe each endpoint of a list at once: a connection is there, or known to be missing, before the first call. */
  readonly warm?: boolean;
  /**
   * Is it a fault of one that answers, but cannot serve now? It is not down, and asked after the
   * others for a while.
   */
  readonly isBusy?: (error: KmsError) => boolean;
  /** Called when an endpoint goes down or comes back, and not when it is merely slow. */
  readonly onChange?: (endpoint: E, failure: KmsError | undefined) => void;
  readonly clock?: Clock;
};

export type EndpointState<E> = {
  readonly endpoint: E;
  readonly isUp: boolean;
  /** Why it is down. */
  readonly failure: KmsError | undefined;
  /** Why it is asked after the others, while it is up. */
  readonly busy: KmsError | undefined;
  /** Monotonic milliseconds of the last change. */
  readonly since: number;
  /** Usual time of an answer in milliseconds; undefined before the first. */
  readonly latencyMs: number | undefined;
};

/** One end, and what is known of it. Written to by this file only. */
export type Entry<E> = {
  /** Another one of the same name once the list has been replaced. */
  endpoint: E;
  failure: KmsError | undefined;
  since: number;
  latencyMs: number | undefined;
  /** Monotonic milliseconds of the last answer that counts in `latencyMs`. */
  heardAt: number;
  pauseMs: number;
  /** Until then it is asked after the others: it answers, and cannot serve. */
  busyUntil: number;
  busy: KmsError | undefined;
  timer: NodeJS.Timeout | undefined;
  /** A probe is under way or due. One that is up did not answer in time, or is new: it is asked after the others. */
  probe: AbortController | undefined;
  /** The probe is due, and an answer would make it needless. */
  isAwaited: boolean;
};

export interface EndpointHealth<E> {
  /** Another array once the list has been replaced. */
  entries(): readonly Entry<E>[];
  /** All of them, the most promising first. */
  order(): readonly Entry<E>[];
  /** It has said that it cannot serve now: to ask it beside another one gains nothing. */
  isBusy(entry: Entry<E>): boolean;
  /** @param tookMs time of the answer */
  answered(entry: Entry<E>, tookMs: number): void;
  failed(entry: Entry<E>, error: KmsError): void;
  /**
   * It has not answered for longer than it ever takes: where it does not in a second either, a probe decides
   * what that means. At once a probe would be one more connection to each of a thousand that are merely slow.
   */
  late(entry: Entry<E>, waitedMs: number): void;
  replace(endpoints: readonly E[]): void;
  states(): readonly EndpointState<E>[];
  close(): void;
}

const firstProbeMs = 100;
const lastProbeMs = 5000;
/** Where another end serves there is no hurry: a thousand callers must not all come back at once. */
const lastProbeBesideMs = 30_000;
/** So long an answer that is late is waited for before a probe. */
const awaitMs = 1000;
/** A slow endpoint is not a dead one: a probe may take its time. */
const probeMs = 5000;
/** What an endpoint may ask for with `retryAfterMs` at most. */
const longestPauseMs = 60_000;
/** After so long without an answer half as much is made of what an endpoint's usual time was, milliseconds. */
const halfLifeMs = 20_000;
/** How quick an endpoint is taken to be before it is known, where the quickest is chosen. */
const unknownLatencyMs = 5;

/** Why an end is down that a probe has waited for in vain: its name is not resolved, or it says nothing. */
function noAnswer(): KmsError {
  return new KmsError("deadline_exceeded", { cause: new Error(`no answer within ${probeMs / 1000} s`) });
}

export function createEndpointHealth<E>(options: HealthOptions<E>): EndpointHealth<E> {
  const { nameOf, choice, probe, warm = false, clock = systemClock } = options;
  const { isBusy = () => false, onChange = () => {} } = options;
  const enter = (endpoint: E): Entry<E> => ({
    endpoint,
    failure: undefined,
    since: clock.now(),
    latencyMs: undefined,
    heardAt: clock.now(),
    pauseMs: firstProbeMs,
    busyUntil: 0,
    busy: undefined,
    timer: undefined,
    probe: undefined,
    isAwaited: false,
  });
  let entries: readonly Entry<E>[] = options.endpoints.map(enter);
  let isClosed = false;
  const isGone = (entry: Entry<E>): boolean => isClosed || !entries.includes(entry);

  const markUp = (entry: Entry<E>): void => {
    entry.pauseMs = firstProbeMs;
    entry.busyUntil = 0;
    if (entry.failure === undefined || isGone(entry)) return;
    if (entry.timer !== undefined) clock.clearTimeout(entry.timer);
    entry.failure = undefined;
    entry.since = clock.now();
    onChange(entry.endpoint, undefined);
  };
  const markDown = (entry: Entry<E>, failure: KmsError): void => {
    if (isGone(entry) || entry.failure !== undefined) return;
    entry.failure = failure;
    entry.since = clock.now();
    onChange(entry.endpoint, failure);
    probeLater(entry, Math.max(entry.pauseMs, Math.min(failure.retryAfterMs ?? 0, longestPauseMs)));
  };
  const markBusy = (entry: Entry<E>, error: KmsError): void => {
    const { retryAfterMs = entry.pauseMs } = error;
    entry.busy = error;
    entry.busyUntil = clock.now() + Math.min(retryAfterMs, longestPauseMs);
    entry.pauseMs = Math.min(entry.pauseMs * 2, lastProbeMs);
  };
  const probeLater = (entry: Entry<E>, milliseconds: number): void => {
    if (isGone(entry)) return;
    const isBeside = entries.some((other) => other !== entry && other.failure === undefined);
    entry.pauseMs = Math.min(entry.pauseMs * 2, isBeside ? lastProbeBesideMs : lastProbeMs);
    entry.timer = clock.setTimeout(() => void look(entry), milliseconds * jitter());
    entry.timer.unref?.();
  };
  const jitter = (): number => 0.75 + Math.random() / 2;
  /** @param afterMs unless it answers before that */
  const look = async (entry: Entry<E>, afterMs?: number): Promise<void> => {
    if (isGone(entry) || entry.probe !== undefined) return;
    const late = new AbortController();
    entry.probe = late;
    if (afterMs !== undefined) {
      entry.isAwaited = true;
      await new Promise<void>((resolve) => {
        clock.setTimeout(resolve, afterMs * jitter()).unref?.();
      });
      if (entry.probe !== late || isGone(entry)) return;
      entry.isAwaited = false;
    }
    const timer = clock.setTimeout(() => late.abort(noAnswer()), probeMs);
    timer.unref?.();
    const { pauseMs } = entry;
    const error = await raceAbort(probe(entry.endpoint, late.signal), late.signal).then(() => undefined, toKmsError);
    clock.clearTimeout(timer);
    // Its list was replaced, and the endpoint is probed anew.
    if (entry.probe !== late) return;
    entry.probe = undefined;
    if (error === undefined) {
      markUp(entry);
      // An endpoint that looks well and fails again at once is looked at ever more rarely.
      entry.pauseMs = pauseMs;
    } else if (entry.failure === undefined) markDown(entry, error);
    else probeLater(entry, entry.pauseMs);
  };

  const isBusyNow = ({ busyUntil }: Entry<E>): boolean => clock.now() < busyUntil;
  const doubtOf = (entry: Entry<E>): number =>
    entry.failure !== undefined ? 2 : entry.probe !== undefined || isBusyNow(entry) ? 1 : 0;
  // What was slow once and is not asked for it would be slow for ever: what is known of it fades.
  const rankOf = ({ latencyMs = unknownLatencyMs, heardAt }: Entry<E>): number =>
    choice === "fastest" ? latencyMs * 2 ** (-(clock.now() - heardAt) / halfLifeMs) * (0.5 + Math.random()) : 0;
  const stopTimers = (): void => {
    for (const { timer } of entries) if (timer !== undefined) clock.clearTimeout(timer);
  };

  if (warm) for (const entry of entries) void look(entry);

  return {
    entries: () => entries,
    order: () =>
      entries
        .map((entry) => ({ entry, doubt: doubtOf(entry), rank: rankOf(entry) }))
        .toSorted((a, b) => a.doubt - b.doubt || a.rank - b.rank)
        .map(({ entry }) => entry),
    isBusy: isBusyNow,
    answered(entry, tookMs) {
      entry.latencyMs = entry.latencyMs === undefined ? tookMs : entry.latencyMs * 0.8 + tookMs * 0.2;
      entry.heardAt = clock.now();
      if (entry.isAwaited) [entry.probe, entry.isAwaited] = [undefined, false];
      markUp(entry);
    },
    failed(entry, error) {
      if (isBusy(error)) markBusy(entry, error);
      else markDown(entry, error);
    },
    late(entry, waitedMs) {
      entry.latencyMs = Math.max(entry.latencyMs ?? 0, waitedMs);
      entry.heardAt = clock.now();
      if (entry.failure === undefined) void look(entry, awaitMs);
    },
    replace(endpoints) {
      stopTimers();
      const known = new Map(entries.map((entry) => [nameOf(entry.endpoint), entry]));
      entries = endpoints.map((endpoint) => {
        const entry = known.get(nameOf(endpoint));
        return entry === undefined ? enter(endpoint) : Object.assign(entry, { endpoint });
      });
      for (const entry of entries) {
        // One that is down may have been so for a reason that the change has ended.
        const isInDoubt = entry.failure !== undefined || entry.probe !== undefined;
        entry.probe?.abort();
        [entry.probe, entry.isAwaited] = [undefined, false];
        if (warm || isInDoubt) void look(entry);
      }
    },
    states: () =>
      entries.map((entry) => {
        const { endpoint, failure, busy, since, latencyMs } = entry;
        return {
          endpoint,
          isUp: failure === undefined,
          failure,
          busy: isBusyNow(entry) ? busy : undefined,
          since,
          latencyMs,
        };
      }),
    close() {
      isClosed = true;
      stopTimers();
    },
  };
}
