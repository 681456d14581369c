// Unix time that only goes forward at the pace of time: for ages. The wall clock is looked at once;
// whoever sets it back or forth later changes no age. Not for what other machines are told.

/** @returns whole Unix milliseconds as of the start, advanced by a monotonic clock */
export function createSteadyClock(
  wall: () => number = Date.now,
  monotonic: () => number = () => performance.now(),
): () => number {
  const offset = wall() - monotonic();
  return () => Math.round(offset + monotonic());
}

/** The process' own: deadlines and ages that pass from one file to another are all by this one. */
export const steadyNow: () => number = createSteadyClock();

/** Time and timers, as an argument: tests have their own. */
export type Clock = {
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly setTimeout: (run: () => void, milliseconds: number) => NodeJS.Timeout;
  readonly clearTimeout: (timer: NodeJS.Timeout) => void;
};

export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout: (run, milliseconds) => setTimeout(run, milliseconds),
  clearTimeout: (timer) => clearTimeout(timer),
};
