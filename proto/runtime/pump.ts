// When the next call starts: at once when none is under way, beside others only when that is worth
// it. It decides the moment, not what a call carries. (docs/architecture.md #vault.)
import type { Slots } from "./slots.ts";

/** What a pump moves. */
export type PumpSource = {
  /** How many items wait. */
  readonly waiting: () => number;
  /** Starts a call. Undefined when nothing that waits is worth one. */
  readonly start: () => { readonly items: number; readonly ended: Promise<void> } | undefined;
  /** Nothing waits, nothing is under way. */
  readonly onIdle: () => void;
};

export type PumpOptions = {
  readonly maxInFlight: number;
  /** Another call starts beside one only when so many wait. */
  readonly minParallelBatch: number;
  /** A call that takes longer lets another one start beside it. */
  readonly slowCallMs: number;
  /** A call with so many items is a storm. */
  readonly stormBatch: number;
  /** In a storm so many turns of the event loop may bring more items before the next call starts. */
  readonly maxReadTurns: number;
  /** And for so many milliseconds: turns of a process that has too much to do are long. */
  readonly maxReadMs: number;
  readonly now: () => number;
  /** Each call takes one; a pump that finds none waits for its turn. */
  readonly slots: Slots;
};

export interface Pump {
  /** An item arrived. */
  arrive(): void;
}

export function createPump(source: PumpSource, options: PumpOptions): Pump {
  const { waiting } = source;
  const { maxInFlight, slots } = options;
  let inFlight = 0;
  /** Its turn for a slot will come; it has come, and the slot is not used yet. */
  let isInLine = false;
  let hasSlot = false;
  let slowTimer: NodeJS.Timeout | undefined;
  let isDue = false;
  let arrived = 0;
  let lastItems = 0;

  const takeSlot = (): boolean => {
    if (hasSlot || slots.tryTake()) {
      hasSlot = false;
      return true;
    }
    if (isInLine) return false;
    isInLine = true;
    slots.whenFree(() => {
      isInLine = false;
      hasSlot = true;
      pump();
      // All who waited have left meanwhile.
      if (hasSlot) slots.release();
      hasSlot = false;
    });
    return false;
  };

  /** With a slot taken for it. */
  const start = (): void => {
    const call = source.start();
    if (call === undefined) return slots.release();
    lastItems = call.items;
    inFlight += 1;
    void call.ended.finally(() => {
      inFlight -= 1;
      slots.release();
      pumpSoon();
    });
    return undefined;
  };

  // After what has arrived by now has been read: in a storm the next hundred requests are in the
  // sockets already, and would each find a call just gone. While it lasts, turn after turn of the
  // event loop brings more of them: they are read first.
  const pumpSoon = (): void => {
    if (isDue) return;
    isDue = true;
    const until = options.now() + options.maxReadMs;
    const readOn = (turns: number): void => {
      const before = arrived;
      setImmediate(() => {
        const isStorm = lastItems >= options.stormBatch && arrived > before;
        if (isStorm && turns > 0 && options.now() < until) return readOn(turns - 1);
        isDue = false;
        return pump();
      });
    };
    readOn(options.maxReadTurns);
  };

  const pump = (): void => {
    const mayStart = (): boolean =>
      waiting() > 0 && (inFlight === 0 || (waiting() >= options.minParallelBatch && inFlight < maxInFlight));
    while (mayStart() && takeSlot()) start();
    if (waiting() === 0 && inFlight === 0) return source.onIdle();
    if (waiting() === 0 || inFlight >= maxInFlight) return;
    slowTimer ??= setTimeout(() => {
      slowTimer = undefined;
      if (waiting() > 0 && inFlight < maxInFlight && takeSlot()) start();
      pump();
    }, options.slowCallMs).unref();
  };

  return {
    arrive() {
      arrived += 1;
      pumpSoon();
    },
  };
}
