// Looks again and again while somebody follows, as often as a look's own length allows. What a look finds is its
// caller's matter.
import { setTimeout as pause } from "node:timers/promises";

/** A look takes a tenth of the time at most: one at a large fleet is a second or two of Redis and of this process. */
const restFactor = 10;

/**
 * @param look may fail: what cannot be read now is found by a later one
 * @param lookMs between two looks, at least
 * @param onEnd is called when nobody follows any more
 * @returns begins to look where nobody looks yet. Resolves after the first look; never rejects.
 */
export function createLookLoop({
  look,
  lookMs,
  isFollowed,
  onEnd,
}: {
  readonly look: () => Promise<void>;
  readonly lookMs: number;
  readonly isFollowed: () => boolean;
  readonly onEnd: () => void;
}): () => Promise<void> {
  let first: Promise<void> | undefined;

  /** @returns how long it took */
  const timed = async (): Promise<number> => {
    const began = performance.now();
    await look().catch(() => undefined);
    return performance.now() - began;
  };
  const loop = async (took: number): Promise<void> => {
    for (let last = took; ; last = await timed()) {
      await pause(Math.max(lookMs, restFactor * last), undefined, { ref: false });
      if (!isFollowed()) break;
    }
    onEnd();
    first = undefined;
  };
  return async () => {
    first ??= timed().then((took) => void loop(took));
    await first;
  };
}
