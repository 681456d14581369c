// All that waits for one key, and the calls that are under way for it. (docs/architecture.md #vault and
// #shim.)
import { KmsError, toKmsError } from "../wire/errors.ts";
import { raceAbort } from "./abort.ts";
import { createFairQueue } from "./fair-queue.ts";
import { type Call, type Caller, deadlineOf, type Flight, joinFlight, longestTimerMs } from "./flight.ts";
import { createPump, type PumpSource } from "./pump.ts";
import type { Slots } from "./slots.ts";

/** One for each item of a batch, in order: one bad item fails alone. */
export type BatchOutcome<R> =
  | { readonly ok: true; readonly value: R }
  | { readonly ok: false; readonly error: KmsError };

export type BatchRequest<I> = {
  readonly item: I;
  /** Groups are served in turn. */
  readonly group: string;
  /** What the item counts for in the bounds of a batch and of a queue. */
  readonly bytes?: number;
  /** Items under one key with the same identity are one. Absent: the item is like no other. */
  readonly identity?: string;
  /** In the milliseconds of `now`; an item whose time is over is never sent. */
  readonly deadline?: number;
  /**
   * In the milliseconds of `now`: the item is not sent where it could not be answered by then. Ends nobody who
   * waits, as `deadline` does with a timer of its own: for callers whose `signal` does that.
   */
  readonly answerBy?: number;
  /** The caller left. */
  readonly signal: AbortSignal;
};

export type BatcherOptions<K, I, R> = {
  readonly keyId: (key: K) => string;
  /**
   * Sends 1..maxBatch items. A rejection is the failure of all of them. The signal ends when every
   * caller has left and when the time of the last one is over, at `deadline`; what comes later is
   * discarded.
   */
  readonly send: (
    key: K,
    items: readonly I[],
    call: { readonly signal: AbortSignal; readonly deadline: number },
  ) => Promise<readonly BatchOutcome<R>[]>;
  /** Zeroizes a result that nobody takes. */
  readonly discard: (result: R) => void;
  /** A copy of a result, for each caller of items that have an identity. */
  readonly copy?: (result: R) => R;
  /** Whether a failed call may be the fault of one of its items: then halves of the batch are sent. */
  readonly isItemFault?: (error: KmsError) => boolean;
  /** Called for each caller that joins an identical item. */
  readonly onCoalesced?: () => void;
  readonly now?: () => number;
  /** Milliseconds that a call takes. */
  readonly answerMs?: () => number;
  readonly maxInFlight?: number;
  readonly maxBatch?: number;
  readonly maxBatchBytes?: number;
  /** Another call starts beside one only when so many wait; a full batch when absent. */
  readonly minParallelBatch?: number;
  /** Bounds of one group's queue. */
  readonly maxQueued?: number;
  readonly maxQueuedBytes?: number;
  /** A call that takes longer lets another one start beside it: one slow address holds nobody else. */
  readonly slowCallMs?: number;
  /** A call that takes longer fails with `deadline_exceeded`. */
  readonly maxCallMs?: number;
  /** A batch of so many is a storm; then so many turns of the event loop may bring more before the next one leaves. */
  readonly stormBatch?: number;
  readonly maxReadTurns?: number;
  /** The longest that those turns may take, milliseconds. */
  readonly maxReadMs?: number;
  /** A result stays so long for who is just asking the same. */
  readonly resultTtlMs?: number;
  /** With less time than this left, a repetition is not worth it. */
  readonly minRetryMs?: number;
  /** What the calls of all keys, and of other batchers with the same ones, share; without limit when absent. */
  readonly slots?: Slots;
};

/** All that is asked of one key. `onIdle` says that nothing is waiting, under way or kept. */
export function createKeyQueue<K, I, R>(key: K, options: Required<BatcherOptions<K, I, R>>, onIdle: () => void) {
  const { now, maxBatch, maxBatchBytes, minRetryMs, discard } = options;
  const queue = createFairQueue<Flight<I, R>>({ maxItems: options.maxQueued, maxBytes: options.maxQueuedBytes });
  const flights = new Map<string, Flight<I, R>>();
  let calls = 0;

  const forget = (flight: Flight<I, R>): void => {
    if (flight.identity !== undefined && flights.get(flight.identity) === flight) flights.delete(flight.identity);
  };
  const noticeIdle = (): void => {
    if (queue.size === 0 && calls === 0 && flights.size === 0) onIdle();
  };

  const leave = (flight: Flight<I, R>, caller: Caller<R>, error: KmsError): void => {
    if (!flight.callers.delete(caller)) return;
    caller.reject(error);
    if (flight.callers.size > 0) return;
    forget(flight);
    queue.remove(flight);
    if (flight.call !== undefined && --flight.call.wanted === 0) flight.call.controller.abort(new KmsError("canceled"));
  };

  const succeed = (flight: Flight<I, R>, value: R): void => {
    const callers = [...flight.callers];
    flight.callers.clear();
    const [first] = callers;
    if (first === undefined) return discard(value);
    if (flight.identity === undefined) return first.resolve(value);
    for (const caller of callers) caller.resolve(options.copy(value));
    flight.result = { value };
    setTimeout(() => {
      forget(flight);
      discard(value);
      noticeIdle();
    }, options.resultTtlMs).unref();
    return undefined;
  };

  // A caller who joined a call that ends with an earlier caller's time, and has time left, goes
  // again: whatever the call says of its end, it was not this caller's.
  const fail = (flight: Flight<I, R>, error: KmsError, until = Number.POSITIVE_INFINITY): void => {
    const time = now();
    for (const caller of flight.callers) {
      if (time >= until - minRetryMs && caller.deadline - time >= minRetryMs) continue;
      flight.callers.delete(caller);
      caller.reject(error);
    }
    if (flight.callers.size === 0) return forget(flight);
    flight.call = undefined;
    return queue.putBack(flight);
  };

  const deliver = (batch: readonly Flight<I, R>[], outcomes: readonly BatchOutcome<R>[]): void => {
    for (const [i, flight] of batch.entries()) {
      const outcome = outcomes[i];
      if (outcome?.ok === true) succeed(flight, outcome.value);
      else fail(flight, outcome?.error ?? new KmsError("backend_protocol_error", { cause: new Error("no outcome") }));
    }
    discardAll(outcomes.slice(batch.length));
  };
  const discardAll = (outcomes: readonly BatchOutcome<R>[]): void => {
    for (const outcome of outcomes) if (outcome.ok) discard(outcome.value);
  };

  const send = async (batch: readonly Flight<I, R>[]): Promise<void> => {
    calls += 1;
    const call: Call = { controller: new AbortController(), wanted: batch.length };
    const { signal } = call.controller;
    for (const flight of batch) flight.call = call;
    const until = Math.max(...batch.map(deadlineOf));
    const time = now();
    const deadline = Math.min(until, time + options.maxCallMs);
    const end = (): void => call.controller.abort(new KmsError("deadline_exceeded"));
    const timer = setTimeout(end, Math.min(deadline - time, longestTimerMs));
    const items = batch.map(({ item }) => item);
    const sending = Promise.try(() => options.send(key, items, { signal, deadline }));
    try {
      deliver(batch, await raceAbort(sending, signal));
    } catch (thrown) {
      sending.then(discardAll, () => {});
      const error = toKmsError(thrown);
      const live = batch.filter(({ callers }) => callers.size > 0);
      if (live.length < 2 || signal.aborted || !options.isItemFault(error))
        for (const flight of live) fail(flight, error, until);
      else {
        const half = Math.ceil(live.length / 2);
        await Promise.all([send(live.slice(0, half)), send(live.slice(half))]);
      }
    } finally {
      calls -= 1;
      clearTimeout(timer);
    }
  };

  // The longest head of the queue that fits one call.
  const gather = (): readonly Flight<I, R>[] => {
    const time = now();
    const answered = time + options.answerMs();
    const batch: Flight<I, R>[] = [];
    let bytes = 0;
    while (batch.length < maxBatch) {
      const next = queue.take(batch.length === 0 ? Number.POSITIVE_INFINITY : maxBatchBytes - bytes);
      if (next === undefined) break;
      for (const caller of next.callers)
        if (caller.deadline <= time || caller.answerBy <= answered)
          leave(next, caller, new KmsError("deadline_exceeded"));
      if (next.callers.size === 0) continue;
      batch.push(next);
      bytes += next.bytes;
    }
    return batch;
  };

  const source: PumpSource = {
    waiting: () => queue.size,
    start: () => {
      const batch = gather();
      return batch.length === 0 ? undefined : { items: batch.length, ended: send(batch) };
    },
    onIdle: noticeIdle,
  };
  const pump = createPump(source, options);

  const fly = ({ item, group, bytes = 0, identity }: BatchRequest<I>): Flight<I, R> | undefined => {
    const flight = { item, group, bytes, identity, callers: new Set<Caller<R>>(), call: undefined, result: undefined };
    if (!queue.add(flight)) return undefined;
    if (identity !== undefined) flights.set(identity, flight);
    pump.arrive();
    return flight;
  };

  return (request: BatchRequest<I>): Promise<R> => {
    const { identity, deadline = Number.POSITIVE_INFINITY, answerBy = Number.POSITIVE_INFINITY, signal } = request;
    const known = identity === undefined ? undefined : flights.get(identity);
    if (known !== undefined) options.onCoalesced();
    if (known?.result !== undefined) return Promise.resolve(options.copy(known.result.value));
    const flight = known ?? fly(request);
    if (flight === undefined)
      return Promise.reject(new KmsError("overloaded", { cause: new Error("the group's queue is full") }));
    return joinFlight(flight, {
      deadline,
      answerBy,
      signal,
      now,
      onLeave: (caller, error) => leave(flight, caller, error),
    });
  };
}
