// What is logged of a Redis: that it is away, at once; that it is there, when it has been for a while. One that
// takes some commands and refuses others is away for whoever reads the log.
import { type Clock, systemClock } from "@claviger/proto/runtime/clock.ts";
import { steadyMs } from "@claviger/proto/runtime/end-reports.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";

/** Between two lines about the same Redis that is away for another reason each time. */
const quietMs = 2000;

export interface RedisReports {
  /** @param problem undefined: it did what it was asked */
  report(problem: string | undefined): void;
  /** What is wrong now; undefined where nothing is. */
  problem(): string | undefined;
  close(): void;
}

export function createRedisReports(log: Log, address: string, clock: Clock = systemClock): RedisReports {
  let problem: string | undefined = "not connected yet";
  /** What the log said last; undefined: nothing yet. */
  let logged: { readonly problem: string | undefined; readonly at: number } | undefined;
  let over: NodeJS.Timeout | undefined;

  const stop = (): void => {
    if (over !== undefined) clock.clearTimeout(over);
    over = undefined;
  };
  const sayReady = (): void => {
    over = undefined;
    logged = { problem: undefined, at: clock.now() };
    log.info({ event: "redis-ready", address }, "Redis is there");
  };
  return {
    report(next) {
      problem = next;
      if (next === undefined) {
        if (logged === undefined) sayReady();
        else if (logged.problem !== undefined && over === undefined) {
          over = clock.setTimeout(sayReady, steadyMs);
          over.unref?.();
        }
        return;
      }
      stop();
      if (logged?.problem === next) return;
      if (logged?.problem !== undefined && clock.now() - logged.at < quietMs) return;
      logged = { problem: next, at: clock.now() };
      log.warn({ event: "redis-away", address, problem: next }, "Redis is away; the gateway goes on without it");
    },
    problem: () => problem,
    close: stop,
  };
}
