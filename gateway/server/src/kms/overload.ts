// How many calls a gateway works on at once while more is asked than it can serve in time; as many as
// come at all other times. What is over that is refused before it has cost much, and a cluster that asks
// for more than its share first. (docs/architecture.md #overload.)
import { raceAbort } from "@claviger/proto/runtime/abort.ts";
import { type Clock, systemClock } from "@claviger/proto/runtime/clock.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { CallTimes } from "../backend/call-times.ts";

/** Why a request is refused: over the limit, or too late for the backend. */
export type ShedCause = "limit" | "time";

/** A call that is worked on. */
export type Place = {
  /** The request is a batch of so many further calls. */
  grow(calls: number): void;
  /** It is done. @param tookMs waiting and work of this gateway and of the backend, where it was served */
  leave(tookMs?: number): void;
};

export type Caller = {
  /** Who is shed together. */
  readonly cluster: string;
  /** Milliseconds that the caller still waits. */
  readonly leftMs: number;
  /** It has left, or its time is over. */
  readonly signal: AbortSignal;
};

export interface Overload {
  /**
   * Lets a call in. A refusal may come a moment later: who is refused at once asks again at once.
   * @throws KmsError overloaded; deadline_exceeded where the backend needs longer than the caller waits
   */
  enter(caller: Caller): Promise<Place>;
  /** How many requests are let in at once, a further call of a batch being an eighth; undefined while all are. */
  limit(): number | undefined;
}

/** A look at how long calls took. */
const windowMs = 200;
/** Longer than that, and than the backend is away, is too long on average. */
const targetMs = 150;
/** So many looks in a row, or what came at once is worked off without loss. */
const patience = 5;
/** Calls at once become fewer from look to look where they are at most this share of those before. */
const drained = 0.97;
/** So much at once is no overload: what one shim has under way, four batches of 64 Encrypts and of Decrypts. */
const leastLimit = 96;
/** What a further call of a batch costs, where a request is 1. */
const furtherCall = 1 / 8;
/** Refusals at once, in a second; further ones wait for their turn, since each costs what a tenth of an answer does. */
const refusalsPerSecond = 200;
/** The longest that a refusal waits: so that another gateway still has two thirds of the time. */
const longestPauseMs = 1000;
const pauseShare = 1 / 3;

export type OverloadOptions = {
  /** What a call to the backend takes at most these days, and at least, milliseconds. */
  readonly backend?: Pick<CallTimes, "longestMs" | "shortestMs">;
  /** Called for each call that is refused. */
  readonly onShed?: (cause: ShedCause) => void;
  readonly clock?: Clock;
};

/** What happened since the last look. `peak`: the most calls at once. `isFull`: somebody met the limit. */
type Window = { at: number; served: number; tookMs: number; peak: number; isFull: boolean };

const near: NonNullable<OverloadOptions["backend"]> = { longestMs: () => 0, shortestMs: () => 0 };

export function createOverload({
  backend = near,
  onShed = () => {},
  clock = systemClock,
}: OverloadOptions = {}): Overload {
  const own = new Map<string, number>();
  let inside = 0;
  let limit: number | undefined;
  let window: Window = { at: clock.now(), served: 0, tookMs: 0, peak: 0, isFull: false };
  /** Windows in a row that were slow, while there is no limit; that were not full, while there is one. */
  let run = 0;
  let insideBefore = 0;
  let nextRefusalAt = Number.NEGATIVE_INFINITY;

  const count = (cluster: string, weight: number): void => {
    inside += weight;
    window.peak = Math.max(window.peak, inside);
    const now = (own.get(cluster) ?? 0) + weight;
    if (now > 0) own.set(cluster, now);
    else own.delete(cluster);
  };

  /** A window in which nothing was served says nothing: a backend that hangs is not an overload. */
  const judge = ({ served, tookMs, peak, isFull }: Window): void => {
    if (served === 0) return;
    const most = targetMs + 2 * backend.shortestMs();
    const mean = tookMs / served;
    if (limit === undefined) {
      run = mean > most ? run + 1 : 0;
      if (run < patience) return;
      [limit, run] = [Math.max(leastLimit, peak), 0];
      return;
    }
    run = isFull ? 0 : run + 1;
    if (mean > most) {
      // What has gathered and is worked off by itself costs nobody a refusal.
      if (isFull || inside > drained * insideBefore)
        limit = Math.max(leastLimit, limit * (mean > 2 * most ? 0.8 : 0.93));
    } else if (isFull) limit = limit * (mean < most / 2 ? 1.3 : 1.05) + 1;
    else if (run >= patience) [limit, run] = [undefined, 0];
  };
  const look = (): void => {
    const time = clock.now();
    if (time - window.at < windowMs) return;
    // Nobody asked for long; a process that got no time for as long has its callers waiting.
    if (time - window.at > patience * windowMs && inside === 0) [limit, run] = [undefined, 0];
    else judge(window);
    insideBefore = inside;
    window = { at: time, served: 0, tookMs: 0, peak: inside, isFull: false };
  };

  const causeOf = ({ cluster, leftMs }: Caller): ShedCause | undefined => {
    if (leftMs <= backend.longestMs()) return "time";
    if (limit === undefined || inside < limit) return undefined;
    window.isFull = true;
    const mine = own.get(cluster) ?? 0;
    const share = limit / (own.size + (mine === 0 ? 1 : 0));
    return mine < share ? undefined : "limit";
  };

  const pause = async ({ leftMs, signal }: Caller): Promise<void> => {
    const time = clock.now();
    const most = Math.min(longestPauseMs, leftMs * pauseShare);
    nextRefusalAt = Math.max(nextRefusalAt + 1000 / refusalsPerSecond, time - 1000);
    const wait = Math.min(nextRefusalAt - time, most);
    nextRefusalAt = Math.min(nextRefusalAt, time + longestPauseMs);
    if (wait < 1) return;
    let timer: NodeJS.Timeout | undefined;
    const waited = new Promise<void>((resolve) => {
      timer = clock.setTimeout(resolve, wait);
    });
    try {
      await raceAbort(waited, signal);
    } finally {
      if (timer !== undefined) clock.clearTimeout(timer);
    }
  };

  const placeOf = (cluster: string): Place => {
    let weight = 1;
    count(cluster, weight);
    return {
      grow(further) {
        weight += further * furtherCall;
        count(cluster, further * furtherCall);
      },
      leave(tookMs) {
        count(cluster, -weight);
        weight = 0;
        look();
        if (tookMs === undefined) return;
        window.served += 1;
        window.tookMs += tookMs;
      },
    };
  };

  return {
    async enter(caller) {
      look();
      const cause = causeOf(caller);
      if (cause === undefined) return placeOf(caller.cluster);
      onShed(cause);
      await pause(caller);
      throw cause === "time"
        ? new KmsError("deadline_exceeded", { cause: new Error("the key backend takes longer than the caller waits") })
        : new KmsError("overloaded", { cause: new Error("more is asked than this gateway serves in time") });
    },
    limit: () => limit,
  };
}
