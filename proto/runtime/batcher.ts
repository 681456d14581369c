// Between single requests and batch calls: what arrives while a call for a key is under way travels
// with the next one, and identical items are one. No timer gathers anything: an idle batcher adds no
// delay. It knows neither KMS nor HTTP. (docs/architecture.md #vault and #shim.)
import { KmsError } from "../wire/errors.ts";
import { abortReason } from "./abort.ts";
import { steadyNow } from "./clock.ts";
import { type BatcherOptions, type BatchRequest, createKeyQueue } from "./key-queue.ts";
import { unlimitedSlots } from "./slots.ts";

export type { BatcherOptions, BatchOutcome, BatchRequest } from "./key-queue.ts";

export interface Batcher<K, I, R> {
  /**
   * Resolves with the item's result, the caller's own to zeroize. Rejects with the item's KmsError,
   * with that of the whole call, with `overloaded` when the group's queue is full, with
   * `deadline_exceeded`, or with what the signal was aborted with; the end of one caller never ends
   * another's.
   */
  run(key: K, request: BatchRequest<I>): Promise<R>;
}

const defaults = {
  isItemFault: () => false,
  onCoalesced: () => {},
  now: steadyNow,
  answerMs: () => 0,
  maxInFlight: 4,
  maxBatch: 128,
  maxBatchBytes: Number.POSITIVE_INFINITY,
  maxQueued: 4096,
  maxQueuedBytes: Number.POSITIVE_INFINITY,
  slowCallMs: 50,
  maxCallMs: 10_000,
  stormBatch: 16,
  maxReadTurns: 16,
  maxReadMs: 20,
  resultTtlMs: 50,
  minRetryMs: 50,
  slots: unlimitedSlots,
};

export function createBatcher<K, I, R>(given: BatcherOptions<K, I, R>): Batcher<K, I, R> {
  const keyQueues = new Map<string, (request: BatchRequest<I>) => Promise<R>>();
  const minParallelBatch = given.maxBatch ?? defaults.maxBatch;
  const options = { ...defaults, minParallelBatch, copy: (result: R) => result, ...given };
  return {
    run(key, request) {
      if (request.signal.aborted) return Promise.reject(abortReason(request.signal));
      if (request.deadline !== undefined && request.deadline <= options.now())
        return Promise.reject(new KmsError("deadline_exceeded"));
      const id = options.keyId(key);
      let ask = keyQueues.get(id);
      if (ask === undefined) {
        const created = createKeyQueue(key, options, () => {
          if (keyQueues.get(id) === created) keyQueues.delete(id);
        });
        ask = created;
        keyQueues.set(id, ask);
      }
      return ask(request);
    },
  };
}
