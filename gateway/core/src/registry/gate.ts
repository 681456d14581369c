// A bound on what runs at the same time. What is too much waits its turn.

/** Runs it, when fewer than the limit are running. */
export type Gate = <T>(run: () => Promise<T>) => Promise<T>;

export function createGate(limit: number): Gate {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (run) => {
    if (running < limit) running += 1;
    // Its place is handed on.
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await run();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}
