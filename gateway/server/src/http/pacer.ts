// Paces what costs this process a millisecond each and may come by the thousand: handshakes, after
// another gateway's end or this one's start. Those who are connected already are served meanwhile.
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

/** Between two turns, in which some are run, milliseconds. */
const turnMs = 5;
/** A turn that comes so much too late says that the process has more to do than it can. */
const lateMs = 5;
/** Run in a turn at most; and at once, where none has run for a turn. */
const mostInTurn = 16;

/** Runs as many in a turn as the event loop keeps up with: fewer when a turn comes late, more when not. */
export function createPacer({ now, setTimeout }: Pick<Clock, "now" | "setTimeout"> = systemClock): Pacer {
  let queue: (() => void)[] = [];
  let inTurn = mostInTurn;
  let left = inTurn;
  let due: number | undefined;

  const next = (): void => {
    due = now() + turnMs;
    setTimeout(turn, turnMs).unref?.();
  };
  const turn = (): void => {
    const isLate = now() - (due ?? 0) > lateMs;
    inTurn = isLate ? Math.max(1, Math.floor(inTurn / 2)) : Math.min(mostInTurn, inTurn + 1);
    const isQuiet = left === inTurn && queue.length === 0;
    left = inTurn;
    due = undefined;
    if (isQuiet) return;
    // Before they run: what they take of the time makes the next turn late.
    next();
    const runs = queue.splice(0, left);
    left -= runs.length;
    for (const run of runs) run();
  };

  return {
    add(run) {
      if (due === undefined) next();
      if (queue.length > 0 || left === 0) return void queue.push(run);
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
