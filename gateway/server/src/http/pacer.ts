// Paces what costs this process a millisecond each and may come by the thousand: handshakes, after
// another gateway's end or this one's start. Between two turns those are served who are connected.
// (docs/architecture.md #limits.)
import { type Clock, systemClock } from "@claviger/proto/runtime/clock.ts";

export type Pacer = {
  /** Runs it now, or when those before it have run. */
  add(run: () => void): void;
  /** Those that wait. */
  waiting(): number;
  /** Drops those that wait. */
  close(): void;
};

/** Between two turns at least, milliseconds. A process that is busy, or gets little time, has fewer of them. */
const turnMs = 5;
/** Run in a turn: what the others wait for, once, is that many. */
const inTurn = 6;

export function createPacer({ setTimeout }: Pick<Clock, "setTimeout"> = systemClock): Pacer {
  let queue: (() => void)[] = [];
  let left = inTurn;
  let isTurning = false;

  const turn = (): void => {
    isTurning = left < inTurn || queue.length > 0;
    left = inTurn;
    if (!isTurning) return;
    setTimeout(turn, turnMs).unref?.();
    const runs = queue.splice(0, inTurn);
    left -= runs.length;
    for (const run of runs) run();
  };

  return {
    add(run) {
      if (!isTurning) {
        isTurning = true;
        setTimeout(turn, turnMs).unref?.();
      }
      if (left === 0) return void queue.push(run);
      left -= 1;
      run();
      return undefined;
    },
    waiting: () => queue.length,
    close() {
      queue = [];
    },
  };
}
