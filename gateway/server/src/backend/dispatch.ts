// A backend's batch calls behind single ones: what waits for one key travels together, clusters in
// turn. (docs/architecture.md #vault.)
import { type Batcher, createBatcher } from "@claviger/proto/runtime/batcher.ts";
import { connectionsPerAddress } from "@claviger/gateway-core/src/backend/vault/transport.ts";
import { createSlots } from "@claviger/proto/runtime/slots.ts";
import { zeroize } from "@claviger/proto/runtime/secret.ts";
import { noTracing, type Tracing } from "@claviger/proto/runtime/tracing.ts";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import type { ClusterName } from "@claviger/proto/wire/names.ts";
import { refId } from "@claviger/gateway-core/src/key/key-id.ts";
import type {
  KeyRef,
  OpenBackend,
  UnwrapItem,
  Unwrapped,
  WrapItem,
  Wrapped,
} from "@claviger/gateway-core/src/backend/port.ts";
import { type CallTimes, createCallTimes } from "./call-times.ts";

/**
 * One item in, one result out. Rejects with the item's KmsError, `overloaded` when the cluster's
 * queue is full, or what its signal was aborted with. An item that the backend would not answer by
 * `answerBy`, milliseconds of the process' steady clock, is not sent: `deadline_exceeded`.
 */
export interface Dispatcher {
  wrap(cluster: ClusterName, key: KeyRef, item: WrapItem, signal: AbortSignal, answerBy?: number): Promise<Wrapped>;
  unwrap(
    cluster: ClusterName,
    key: KeyRef,
    item: UnwrapItem,
    signal: AbortSignal,
    answerBy?: number,
  ): Promise<Unwrapped>;
}

export type DispatcherOptions = {
  readonly backend: Pick<OpenBackend, "name" | "wrap" | "unwrap" | "addresses">;
  /** Shows what the backend took for each item, queueing included. */
  readonly tracing?: Tracing;
  readonly maxInFlightPerKey?: number;
  /**
   * For all keys and both operations: as many as the backend has connections. One call more would wait for a
   * connection with all that is in it: nothing could join it, and what is past its deadline would be sent all the same.
   */
  readonly maxInFlight?: number;
  readonly maxBatch?: number;
  readonly maxQueuedPerCluster?: number;
  /** What calls take, for whoever else needs to know. */
  readonly times?: CallTimes;
  /** Called for each batch call to the backend. */
  readonly observe?: (call: { readonly operation: "wrap" | "unwrap"; readonly items: number }) => void;
};

/** What one cluster may have waiting for one key, whatever the sizes of its items. */
const maxQueuedBytes = 8 * 1024 * 1024;

export function createDispatcher({
  backend,
  tracing = noTracing,
  maxInFlightPerKey = 4,
  maxInFlight = connectionsPerAddress * Math.max(1, backend.addresses?.().length ?? 1),
  maxBatch = 128,
  maxQueuedPerCluster = 4096,
  times = createCallTimes(),
  observe = () => {},
}: DispatcherOptions): Dispatcher {
  const slots = createSlots(maxInFlight);
  const bounds = {
    slots,
    maxInFlight: maxInFlightPerKey,
    maxBatch,
    maxQueued: maxQueuedPerCluster,
    maxQueuedBytes,
    now: steadyNow,
    answerMs: () => times.longestMs(),
  };
  const timed = async <T>(call: Promise<T>): Promise<T> => {
    const began = performance.now();
    const result = await call;
    times.add(performance.now() - began);
    return result;
  };
  const wraps: Batcher<KeyRef, WrapItem, Wrapped> = createBatcher({
    ...bounds,
    keyId: refId,
    discard: () => {},
    send: (key, items, { signal }) => {
      observe({ operation: "wrap", items: items.length });
      return timed(backend.wrap(key, items, signal));
    },
  });
  const unwraps: Batcher<KeyRef, UnwrapItem, Unwrapped> = createBatcher({
    ...bounds,
    keyId: refId,
    discard: ({ plaintext }) => zeroize(plaintext),
    send: (key, items, { signal }) => {
      observe({ operation: "unwrap", items: items.length });
      return timed(backend.unwrap(key, items, signal));
    },
  });
  const span = { kind: "client", attributes: { "claviger.backend": backend.name } } as const;
  return {
    wrap: (group, key, item, signal, answerBy) =>
      tracing.span("backend encrypt", span, () =>
        wraps.run(key, {
          item,
          group,
          bytes: item.plaintext.length,
          signal,
          ...(answerBy !== undefined && { answerBy }),
        }),
      ),
    unwrap: (group, key, item, signal, answerBy) =>
      tracing.span("backend decrypt", span, () =>
        unwraps.run(key, {
          item,
          group,
          bytes: item.ciphertext.length,
          signal,
          ...(answerBy !== undefined && { answerBy }),
        }),
      ),
  };
}
