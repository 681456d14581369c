// The time as the service has it, second by second: ages that a page shows go on between two answers.
import { type ReadonlySignal, signal } from "@preact/signals";

export type Clock = {
  /** Unix milliseconds, of the last whole second that has passed here. */
  readonly now: ReadonlySignal<number>;
  read(): number;
  /** Takes the service's own time, which has whole seconds. */
  adjust(serverTime: number): void;
};

/** Clocks that differ by less are taken to agree. */
const sameMs = 3000;

/** @param every calls back once a second, for ever */
export function createClock(every: (tick: () => void) => void, local: () => number = Date.now): Clock {
  let offset = 0;
  const read = (): number => local() + offset;
  const now = signal(read());
  every(() => {
    now.value = read();
  });
  return {
    now,
    read,
    adjust(serverTime) {
      const difference = serverTime - local();
      if (Math.abs(difference - offset) < sameMs) return;
      offset = Math.abs(difference) < sameMs ? 0 : difference;
      now.value = read();
    },
  };
}
