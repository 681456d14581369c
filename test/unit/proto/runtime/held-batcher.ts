// A batcher whose calls a test answers, under a clock that the test moves.
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { type BatcherOptions, type BatchRequest, createBatcher } from "@claviger/proto/runtime/batcher.ts";
import { toKmsError } from "@claviger/proto/wire/errors.ts";
import { never, resultOf, type Outcome, type Result } from "./batch-results.ts";

type Held = {
  readonly key: string;
  readonly items: readonly string[];
  readonly signal: AbortSignal;
  readonly deadline: number;
  readonly resolve: (outcomes: readonly Outcome[]) => void;
  readonly reject: (error: unknown) => void;
  answer(): readonly Result[];
};

/** A batcher whose calls wait for the test, under a clock that the test moves. */
export function createHeldBatcher(t: TestContext, options: Partial<BatcherOptions<string, string, Result>> = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const calls: Held[] = [];
  const copies: Result[] = [];
  const batcher = createBatcher<string, string, Result>({
    now: () => Date.now(),
    keyId: (key) => key,
    send: (key, items, { signal, deadline }) =>
      new Promise((resolve, reject) => {
        const answer = (): readonly Result[] => {
          const results = items.map(resultOf);
          resolve(results.map((value) => ({ ok: true, value })));
          return results;
        };
        calls.push({ key, items, signal, deadline, resolve, reject, answer });
      }),
    discard: (result) => {
      result.isDiscarded = true;
    },
    copy: ({ text }) => {
      const copy = resultOf(text);
      copies.push(copy);
      return copy;
    },
    ...options,
  });
  const ask = (item: string, change: Partial<BatchRequest<string>> = {}, key = "k"): Promise<string> =>
    batcher.run(key, { item, group: "g", signal: never, ...change }).then(
      ({ text }) => text,
      (error: unknown) => toKmsError(error).reason,
    );
  const at = (n: number): Held => {
    const call = calls[n];
    assert.ok(call !== undefined, `call ${n} has not been made`);
    return call;
  };
  return { calls, at, ask, batcher, pass: (ms: number) => t.mock.timers.tick(ms) };
}
