// Between single requests and batch calls: what arrives while a call for a key is under way travels
// with the next one. (docs/architecture.md #vault.) No timer gathers anything: an idle dispatcher
// adds no delay, a storm costs the backend a fraction of the requests.
import { KmsError, toKmsError } from "@claviger/proto/wire/errors.ts";
import type { ClusterName } from "@claviger/proto/wire/names.ts";
import { zeroize } from "@claviger/proto/runtime/secret.ts";
import { refId } from "@claviger/gateway-core/src/key/key-id.ts";
import { abortReason } from "@claviger/proto/runtime/abort.ts";
import type {
  Backend,
  KeyRef,
  Outcome,
  UnwrapItem,
  Unwrapped,
  WrapItem,
  Wrapped,
} from "@claviger/gateway-core/src/backend/port.ts";

/**
 * One item in, one result out. Rejects with the item's KmsError, `overloaded` when the cluster's
 * queue is full, or what its signal was aborted with.
 */
export interface Dispatcher {
  wrap(cluster: ClusterName, key: KeyRef, item: WrapItem, signal: AbortSignal): Promise<Wrapped>;
  unwrap(cluster: ClusterName, key: KeyRef, item: UnwrapItem, signal: AbortSignal): Promise<Unwrapped>;
}

export type DispatcherOptions = {
  readonly backend: Backend;
  readonly maxInFlightPerKey?: number;
  readonly maxBatch?: number;
  readonly maxQueuedPerCluster?: number;
  /** Called for each batch call to the backend. */
  readonly observe?: (call: { readonly operation: "wrap" | "unwrap"; readonly items: number }) => void;
};

/**
 * A call that takes longer than this lets another one start beside it, so that one slow address
 * does not hold everybody.
 */
const slowMs = 50;
const callMs = 10_000;
/**
 * A batch of so many is a storm; then so many turns of the event loop that bring more may pass
 * before the next one leaves.
 */
const stormBatch = 16;
const maxTurns = 16;

type Waiting<I, O> = {
  readonly item: I;
  readonly signal: AbortSignal;
  /** Both may come after the caller has left; the result of a caller who left is wiped. */
  readonly resolve: (value: O) => void;
  readonly reject: (error: KmsError) => void;
};

type Call<I, O> = (key: KeyRef, items: readonly I[], signal: AbortSignal) => Promise<readonly Outcome<O>[]>;

/** All that is asked of one key in one direction: a queue for each cluster, served in turn. */
function createLane<I, O>(
  key: KeyRef,
  call: Call<I, O>,
  discard: (late: O) => void,
  {
    maxInFlight,
    maxBatch,
    maxQueued,
  }: { readonly maxInFlight: number; readonly maxBatch: number; readonly maxQueued: number },
) {
  const queues = new Map<ClusterName, Waiting<I, O>[]>();
  let waiting = 0;
  let inFlight = 0;
  let relief: NodeJS.Timeout | undefined;
  let isPumpDue = false;
  let arrived = 0;
  let lastBatch = 0;

  // One from each cluster in turn, so that a cluster's storm fills no batch before its neighbour's
  // single request is in it.
  const gather = (): Waiting<I, O>[] => {
    const batch: Waiting<I, O>[] = [];
    while (batch.length < maxBatch && queues.size > 0) {
      for (const [cluster, queue] of queues) {
        const next = queue.shift();
        // Served clusters go to the end of the order.
        queues.delete(cluster);
        if (queue.length > 0) queues.set(cluster, queue);
        if (next === undefined) continue;
        waiting -= 1;
        // What nobody waits for any more is not sent.
        if (!next.signal.aborted) batch.push(next);
        break;
      }
    }
    return batch;
  };

  const send = async (batch: readonly Waiting<I, O>[]): Promise<void> => {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(new KmsError("deadline_exceeded")), callMs);
    // Nobody waits any more when every signal has ended; the items of one request share theirs.
    const signals = new Set(batch.map(({ signal }) => signal));
    let interested = signals.size;
    const lose = (): void => {
      interested -= 1;
      if (interested === 0) controller.abort(new KmsError("canceled"));
    };
    for (const signal of signals) signal.addEventListener("abort", lose, { once: true });
    try {
      const outcomes = await call(
        key,
        batch.map(({ item }) => item),
        controller.signal,
      );
      for (const [i, { resolve, reject }] of batch.entries()) {
        const outcome = outcomes[i];
        if (outcome?.ok === true) resolve(outcome.value);
        else
          reject(
            outcome?.error ?? new KmsError("backend_protocol_error", { cause: new Error("fewer outcomes than items") }),
          );
      }
    } catch (thrown) {
      const error = toKmsError(thrown);
      for (const { reject } of batch) reject(error);
    } finally {
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener("abort", lose);
    }
  };

  const start = (): void => {
    const batch = gather();
    if (batch.length === 0) return;
    lastBatch = batch.length;
    inFlight += 1;
    void send(batch).finally(() => {
      inFlight -= 1;
      pumpSoon();
    });
  };

  // After what has arrived by now has been read: in a storm the next hundred requests are in the
  // sockets already, and would each find a call just gone. While it lasts, turn after turn of the
  // event loop brings more of them: they are read first.
  const pumpSoon = (): void => {
    if (isPumpDue) return;
    isPumpDue = true;
    const readOn = (turns: number): void => {
      const before = arrived;
      setImmediate(() => {
        if (lastBatch >= stormBatch && arrived > before && turns > 0) return readOn(turns - 1);
        isPumpDue = false;
        return pump();
      });
    };
    readOn(maxTurns);
  };

  const pump = (): void => {
    // A second call beside the first only for a full batch: fewer, fuller calls.
    const mayStart = (): boolean => waiting > 0 && (inFlight === 0 || (waiting >= maxBatch && inFlight < maxInFlight));
    while (mayStart()) start();
    if (waiting === 0 || inFlight >= maxInFlight) return;
    relief ??= setTimeout(() => {
      relief = undefined;
      if (waiting > 0 && inFlight < maxInFlight) start();
      pump();
    }, slowMs).unref();
  };

  return {
    add: (cluster: ClusterName, item: I, signal: AbortSignal): Promise<O> =>
      new Promise<O>((resolve, reject) => {
        if (signal.aborted) return reject(abortReason(signal));
        let queue = queues.get(cluster) ?? [];
        if (queue.length >= maxQueued) {
          // Those who left make room.
          const live = queue.filter((other) => !other.signal.aborted);
          waiting -= queue.length - live.length;
          queue = live;
          queues.set(cluster, queue);
        }
        if (queue.length >= maxQueued)
          return reject(new KmsError("overloaded", { cause: new Error("the cluster's queue is full") }));
        let hasLeft = false;
        const leave = (): void => {
          hasLeft = true;
          reject(abortReason(signal));
        };
        signal.addEventListener("abort", leave, { once: true });
        queue.push({
          item,
          signal,
          resolve: (value) => {
            signal.removeEventListener("abort", leave);
            if (hasLeft) discard(value);
            else resolve(value);
          },
          reject: (error) => {
            signal.removeEventListener("abort", leave);
            reject(error);
          },
        });
        queues.set(cluster, queue);
        waiting += 1;
        arrived += 1;
        pumpSoon();
        return undefined;
      }),
    isIdle: () => waiting === 0 && inFlight === 0,
  };
}

export function createDispatcher({
  backend,
  maxInFlightPerKey = 4,
  maxBatch = 128,
  maxQueuedPerCluster = 4096,
  observe = () => {},
}: DispatcherOptions): Dispatcher {
  const bounds = { maxInFlight: maxInFlightPerKey, maxBatch, maxQueued: maxQueuedPerCluster };
  const lanesOf = <I, O>(operation: "wrap" | "unwrap", call: Call<I, O>, discard: (late: O) => void) => {
    const lanes = new Map<string, ReturnType<typeof createLane<I, O>>>();
    return async (cluster: ClusterName, key: KeyRef, item: I, signal: AbortSignal): Promise<O> => {
      const id = refId(key);
      let lane = lanes.get(id);
      if (lane === undefined) {
        const observed: Call<I, O> = (ref, items, own) => {
          observe({ operation, items: items.length });
          return call(ref, items, own);
        };
        lane = createLane(key, observed, discard, bounds);
        lanes.set(id, lane);
      }
      try {
        return await lane.add(cluster, item, signal);
      } finally {
        if (lane.isIdle()) lanes.delete(id);
      }
    };
  };
  return {
    wrap: lanesOf<WrapItem, Wrapped>(
      "wrap",
      (key, items, signal) => backend.wrap(key, items, signal),
      () => {},
    ),
    unwrap: lanesOf<UnwrapItem, Unwrapped>(
      "unwrap",
      (key, items, signal) => backend.unwrap(key, items, signal),
      ({ plaintext }) => zeroize(plaintext),
    ),
  };
}
