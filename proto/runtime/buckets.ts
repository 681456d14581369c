// Token buckets by name: what somebody may use up in a second, with a reserve. (rate-limiter-flexible
// would do, but each of its answers is a promise; this is not worth a turn of the event loop.)

export type Rate = {
  readonly perSecond: number;
  /** What is there at first, and at most. */
  readonly full: number;
};

export interface Buckets {
  /** The bucket of that name, filled up to now. Whoever takes out of it writes `tokens`; it may go below zero. */
  of(name: string, rate: Rate): { tokens: number };
}

/** Buckets that are kept; the one that was not used for longest goes first. */
const maxBuckets = 20_000;

/** @param now monotonic milliseconds */
export function createBuckets(now: () => number = () => performance.now()): Buckets {
  const buckets = new Map<string, { tokens: number; at: number }>();
  return {
    of(name, { perSecond, full }) {
      const at = now();
      const bucket = buckets.get(name) ?? { tokens: full, at };
      buckets.delete(name);
      buckets.set(name, bucket);
      const [oldest] = buckets.keys();
      if (buckets.size > maxBuckets && oldest !== undefined) buckets.delete(oldest);
      bucket.tokens = Math.min(full, bucket.tokens + (Math.max(0, at - bucket.at) * perSecond) / 1000);
      bucket.at = at;
      return bucket;
    },
  };
}
