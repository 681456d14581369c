// A clock that a test moves by hand, and the timers that wait for it.
import type { Clock } from "@claviger/proto/runtime/clock.ts";
import { turn } from "./batch-results.ts";

export type ManualClock = Clock & {
  /** Lets so many milliseconds pass: each timer runs when it is due, and what follows from it. */
  readonly pass: (milliseconds: number) => Promise<void>;
  /** Timers that wait. */
  readonly waiting: () => number;
};

export function createManualClock(): ManualClock {
  let now = 0;
  const timers = new Map<object, { readonly at: number; readonly run: () => void }>();
  const takeNext = (until: number): (() => void) | undefined => {
    const [next] = [...timers].filter(([, { at }]) => at <= until).toSorted(([, a], [, b]) => a.at - b.at);
    if (next === undefined) return undefined;
    const [key, { at, run }] = next;
    timers.delete(key);
    now = Math.max(now, at);
    return run;
  };
  return {
    now: () => now,
    setTimeout(run, milliseconds) {
      const key = { unref: () => {} };
      timers.set(key, { at: now + milliseconds, run });
      return key as unknown as NodeJS.Timeout;
    },
    clearTimeout: (timer) => void timers.delete(timer),
    async pass(milliseconds) {
      const until = now + milliseconds;
      await turn();
      for (let run = takeNext(until); run !== undefined; run = takeNext(until)) {
        run();
        await turn();
      }
      now = until;
    },
    waiting: () => timers.size,
  };
}
