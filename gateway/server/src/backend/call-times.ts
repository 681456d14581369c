// What calls to a backend took lately: how long an answer may take, and how far away the backend is.
// (docs/architecture.md #overload.)

export interface CallTimes {
  /** One call. @param milliseconds that it took */
  add(milliseconds: number): void;
  /** The longest of the last seconds, a quarter of a second at most; 0 where there was none. */
  longestMs(): number;
  /** The shortest of the last minutes; 0 where there was none. */
  shortestMs(): number;
}

/** Of the longest: a backend that was slow for a moment is forgiven soon. */
const recentMs = 2000;
/** Of the shortest: a full backend must not pass for a far one. */
const longAgoMs = 300_000;
/** One call that hung must not make all the others hopeless. */
const mostMs = 250;

/** The best of this span and of the one before. */
function createExtreme(spanMs: number, better: (a: number, b: number) => number, now: () => number) {
  let before: number | undefined;
  let current: number | undefined;
  let at = now();
  const roll = (): void => {
    const time = now();
    if (time - at < spanMs) return;
    before = time - at < 2 * spanMs ? current : undefined;
    current = undefined;
    at = time;
  };
  return {
    add(value: number): void {
      roll();
      current = current === undefined ? value : better(current, value);
    },
    get(): number | undefined {
      roll();
      return before === undefined || current === undefined ? (current ?? before) : better(before, current);
    },
  };
}

/** @param now monotonic milliseconds */
export function createCallTimes(now: () => number = () => performance.now()): CallTimes {
  const longest = createExtreme(recentMs, Math.max, now);
  const shortest = createExtreme(longAgoMs, Math.min, now);
  return {
    add(milliseconds) {
      longest.add(milliseconds);
      shortest.add(milliseconds);
    },
    longestMs: () => Math.min(mostMs, longest.get() ?? 0),
    shortestMs: () => shortest.get() ?? 0,
  };
}
