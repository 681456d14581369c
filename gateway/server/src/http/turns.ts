// How long a request has waited before anybody looked at it. The event loop reads all sockets, works, and
// reads again: what arrives meanwhile is in a socket, and nothing says since when. What is known is when
// the loop looked last. (docs/architecture.md #overload.)

export interface Turns {
  /** What is read now waited in its socket for so many milliseconds at most, in this process' eyes. */
  waitedMs(): number;
  close(): void;
}

export type TurnsOptions = {
  /** Monotonic milliseconds */
  readonly now: () => number;
  /** Milliseconds in which the loop had nothing to do, since the start of the process. */
  readonly idleMs: () => number;
  /** Runs it once in this turn or the next one, after what that has read. Must keep no loop awake. */
  readonly afterReading: (run: () => void) => void;
};

const ofThisProcess: TurnsOptions = {
  now: () => performance.now(),
  idleMs: () => performance.nodeTiming.idleTime,
  // Unref'd, it does not make the loop turn, and runs whenever it does.
  afterReading: (run) => void setImmediate(run).unref(),
};

export function createTurns({ now, idleMs, afterReading }: TurnsOptions = ofThisProcess): Turns {
  let at = now();
  let idle = idleMs();
  /** What the turn before this one worked. */
  let workedMs = 0;
  let isClosed = false;

  const turn = (): void => {
    if (isClosed) return;
    const [time, idleNow] = [now(), idleMs()];
    workedMs = Math.max(0, time - at - (idleNow - idle));
    [at, idle] = [time, idleNow];
    afterReading(turn);
  };
  afterReading(turn);

  return {
    waitedMs() {
      const idleSince = idleMs() - idle;
      const worked = Math.max(0, now() - at - idleSince);
      // A loop that had to wait for something to read had read all that came before.
      return idleSince > 0 ? worked : worked + workedMs;
    },
    close() {
      isClosed = true;
    },
  };
}
