// How often a caller may call: each has a share of its own, so that one who calls without end takes nobody else
// the service away. (docs/control-plane.md #limits.)
import { createBuckets } from "@claviger/proto/runtime/buckets.ts";
import type { Caller } from "./caller.ts";
import type { CallRates } from "./config.ts";
import { refuse } from "./refusal.ts";

/** At once: what lasts for so many seconds. */
const burst = 10;

export interface Rates {
  /** Counts a call. @throws Refusal resource_exhausted, with how long to wait */
  take(caller: Caller, address: string): void;
}

/** @param now monotonic milliseconds */
export function createRates(rates: CallRates, now?: () => number): Rates {
  const buckets = createBuckets(now);
  return {
    take(caller, address) {
      const [who, perSecond] = shareOf(caller, address, rates);
      const bucket = buckets.of(`${caller.kind} ${who}`, { perSecond, full: perSecond * burst });
      if (bucket.tokens < 1) {
        const seconds = Math.ceil((1 - bucket.tokens) / perSecond);
        throw refuse(
          "resource_exhausted",
          `${who} calls more than ${perSecond} times a second; try again in ${seconds} s ('rates' in fleet.yaml)`,
        );
      }
      bucket.tokens -= 1;
    },
  };
}

function shareOf(caller: Caller, address: string, rates: CallRates): readonly [who: string, perSecond: number] {
  switch (caller.kind) {
    case "operator":
      return [caller.operator, rates.operator];
    case "node":
      return [`${caller.cluster}/${caller.node}`, rates.node];
    case "anonymous":
      return [address, rates.address];
  }
}
