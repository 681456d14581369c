// What is logged of remote ends that come and go: that one is down at once, that it is up when it has been so
// for a while. One that answers some calls and fails others is down for whoever reads the log.
import type { KmsError } from "../wire/errors.ts";
import { type Clock, systemClock } from "./clock.ts";

/** What comes back is back once it has stayed so for this long, milliseconds. */
export const steadyMs = 3000;

export interface EndReports {
  /** @param failure why it is down; undefined when it is up */
  changed(name: string, failure: KmsError | undefined): void;
  close(): void;
}

/**
 * @param down called when an end goes down, and not again before `up` was called for it
 * @param up called when it has been up for `steadyMs`
 */
export function createEndReports({
  down,
  up,
  clock = systemClock,
}: {
  readonly down: (name: string, failure: KmsError) => void;
  readonly up: (name: string) => void;
  readonly clock?: Clock;
}): EndReports {
  /** Those that were reported down; with a timer while they are up again. */
  const reported = new Map<string, NodeJS.Timeout | undefined>();
  const stop = (name: string): void => {
    const timer = reported.get(name);
    if (timer !== undefined) clock.clearTimeout(timer);
  };
  return {
    changed(name, failure) {
      const isReported = reported.has(name);
      stop(name);
      if (failure !== undefined) {
        reported.set(name, undefined);
        if (!isReported) down(name, failure);
        return;
      }
      if (!isReported) return;
      const timer = clock.setTimeout(() => {
        reported.delete(name);
        up(name);
      }, steadyMs);
      timer.unref?.();
      reported.set(name, timer);
    },
    close() {
      for (const name of reported.keys()) stop(name);
      reported.clear();
    },
  };
}
