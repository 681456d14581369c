// The last outage of a shim that is over, to be told afterwards: while it lasts there is nobody to tell.
import type { OutagePhase, PastOutage } from "@claviger/proto/wire/shim-report.ts";

export type OutageMemory = {
  /** @param goodAt when the key was last known to be good, by the same clock */
  entered(phase: OutagePhase, goodAt: number): void;
  /** The last one that is over; undefined where there was none since the start. */
  last(): PastOutage | undefined;
};

/** @param now milliseconds */
export function createOutageMemory(now: () => number): OutageMemory {
  let current: { readonly since: number; readonly worst: PastOutage["phase"] } | undefined;
  let past: { readonly phase: PastOutage["phase"]; readonly lasted: number; readonly endedAt: number } | undefined;
  return {
    entered(phase, goodAt) {
      if (phase !== 0) {
        const [since, worst] = [current?.since ?? goodAt, current?.worst ?? phase];
        current = { since, worst: phase > worst ? phase : worst };
      } else if (current !== undefined) {
        past = { phase: current.worst, lasted: (now() - current.since) / 1000, endedAt: now() };
        current = undefined;
      }
    },
    last: () =>
      past === undefined ? undefined : { phase: past.phase, lasted: past.lasted, ago: (now() - past.endedAt) / 1000 },
  };
}
