// A bound on the calls of many queues to one remote end. Whoever finds no slot is handed one in its turn,
// and what waits until then can still be gathered, or dropped. (docs/architecture.md #vault.)

export interface Slots {
  /** Takes one, unless all are taken or others wait. */
  tryTake(): boolean;
  /** Calls `use` once, with a slot taken for it, when all who asked before have had theirs. */
  whenFree(use: () => void): void;
  /** Gives one back, to the first who waits. */
  release(): void;
}

/** There is always one. */
export const unlimitedSlots: Slots = { tryTake: () => true, whenFree: (use) => use(), release: () => {} };

export function createSlots(count: number): Slots {
  let free = count;
  const waiting: (() => void)[] = [];
  return {
    tryTake() {
      if (free === 0) return false;
      free -= 1;
      return true;
    },
    whenFree(use) {
      waiting.push(use);
    },
    release() {
      const next = waiting.shift();
      if (next === undefined) free += 1;
      // Handed on: nobody who comes between the two takes it.
      else next();
    },
  };
}
