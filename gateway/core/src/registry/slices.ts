// Work that can be done in slices, so that 10,000 clusters hold no request up.
import { setImmediate as nextTurn } from "node:timers/promises";

/** Work that can rest wherever it yields. */
export type Work<T> = Generator<undefined, T>;

/** A slice takes about this long, milliseconds: a request takes some ten turns, and waits for a slice in each. */
const sliceMs = 1;

/** Does all of it at once. */
export function runAtOnce<T>(work: Work<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
  }
}

/** Does it in slices; between them the event loop turns. */
export async function runInSlices<T>(work: Work<T>): Promise<T> {
  for (;;) {
    const end = performance.now() + sliceMs;
    do {
      const { done, value } = work.next();
      if (done === true) return value;
    } while (performance.now() < end);
    await nextTurn();
  }
}
