// What the batcher's tests batch: texts, whose results know whether they were discarded.
import type { BatchOutcome } from "@claviger/proto/runtime/batcher.ts";

export type Result = { readonly text: string; isDiscarded: boolean };
export type Outcome = BatchOutcome<Result>;

export const never = new AbortController().signal;

/** Two turns of the event loop: what waits is sent, what ended is known. */
export async function turn(): Promise<void> {
  for (let i = 0; i < 2; i += 1)
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
}

export function resultOf(text: string): Result {
  return { text, isDiscarded: false };
}
