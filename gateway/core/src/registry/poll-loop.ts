// Looks at a registry again and again, and once more when somebody says that there is something to see.
// (docs/architecture.md #registry.)
import { setTimeout as sleep } from "node:timers/promises";

/** What one look found. */
export type Look = {
  /** Something else than the look before. */
  readonly hasChanged: boolean;
  /** Nothing is wrong with it. */
  readonly isGood: boolean;
};

export type PollLoop = {
  /** Looks in a look that begins after this call, soon. */
  readonly refresh: () => Promise<void>;
  /** From now on looks by itself. */
  readonly begin: () => void;
  /** When a look found nothing wrong last, Unix seconds. */
  readonly goodAt: () => number | undefined;
  readonly close: () => void;
};

export type LoopOptions = {
  /** Never rejects. */
  readonly look: () => Promise<Look>;
  /** How long a change may go unseen, milliseconds. */
  readonly pollMs: number;
  /** Is it this replica's turn to look? Asked at each poll; not while the last look was no good. */
  readonly isDue?: () => Promise<boolean>;
  /** A poll, and no call of `refresh`, found a change. */
  readonly onFound?: () => void;
};

/** Whoever may write to Redis may send hints without end: they must not become a storm of reads. */
const spacingMs = 100;

export function createPollLoop({ look, pollMs, isDue, onFound }: LoopOptions): PollLoop {
  let last: Look = { hasChanged: false, isGood: false };
  let readAt = Number.NEGATIVE_INFINITY;
  let current: Promise<void> = Promise.resolve();
  let waiting: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;
  let goodAt: number | undefined;

  // Not joined to a look that is under way: it may have begun before the edit that the caller has
  // heard of.
  const refresh = (): Promise<void> => {
    waiting ??= (async () => {
      await current;
      await sleep(Math.max(0, readAt + spacingMs - performance.now()));
      waiting = undefined;
      readAt = performance.now();
      current = (async () => {
        last = await look();
        if (last.isGood) goodAt = Date.now() / 1000;
      })();
      await current;
    })();
    return waiting;
  };
  const poll = async (): Promise<void> => {
    if (last.isGood && isDue !== undefined && !(await isDue())) return;
    await refresh();
    if (last.hasChanged) onFound?.();
  };
  const begin = (): void => {
    if (!isClosed) timer = setTimeout(() => void poll().finally(begin), pollMs).unref();
  };
  return {
    refresh,
    begin,
    goodAt: () => goodAt,
    close() {
      isClosed = true;
      clearTimeout(timer);
    },
  };
}
