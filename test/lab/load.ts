// A steady load of round trips, and what became of each request. Who calls decides what counts as a
// failure.
import { randomBytes } from "node:crypto";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";

export type Tally = {
  ok: number;
  /** Failed requests by reason; "wrong answer" is one. */
  readonly failed: Map<string, number>;
  /** When each success came, in order: performance.now(). */
  readonly successes: number[];
  /** When the last failure came; 0 for none. */
  lastFailure: number;
};

export type Load = {
  /** The counts since the last call. */
  take(): Tally;
  /** Stops and waits for the requests under way. */
  stop(): Promise<void>;
};

export type RoundTrip<S> = {
  readonly encrypt: (plaintext: Uint8Array) => Promise<S>;
  /** Must resolve with what was encrypted. */
  readonly decrypt: (sealed: S) => Promise<Uint8Array>;
  readonly reasonOf: (error: unknown) => string;
  readonly perSecond: number;
};

export function newTally(): Tally {
  return { ok: 0, failed: new Map(), successes: [], lastFailure: 0 };
}

export function failuresOf({ failed }: Tally): number {
  return [...failed.values()].reduce((sum, count) => sum + count, 0);
}

const tickMs = 10;
/** What is sent leaves the process when it goes on to its next turn: so many are sent in one. */
const inTurn = 16;

/**
 * Calls `send` with 0, 1, 2 and so on, so many times a second, whatever becomes of each; `stop` waits for
 * those under way.
 */
export function startPace(perSecond: number, send: (n: number) => Promise<void>): Pick<Load, "stop"> {
  const running = new Set<Promise<void>>();
  let isStopped = false;
  const run = async (): Promise<void> => {
    const began = performance.now();
    for (let sent = 0; !isStopped; await sleep(tickMs)) {
      const due = Math.floor(((performance.now() - began) / 1000) * perSecond);
      while (sent < due && !isStopped) {
        const one = send(sent++).finally(() => running.delete(one));
        running.add(one);
        if (sent % inTurn === 0) await nextTurn();
      }
    }
  };
  const runner = run();
  return {
    async stop() {
      isStopped = true;
      await runner;
      await Promise.all(running);
    },
  };
}

/** So many of the newest are decrypted again. */
const remembered = 500;

/**
 * Half of `perSecond` encrypts, half decrypts what was encrypted before. Keeps its pace whatever
 * the answers do.
 */
export function startLoad<S>({ encrypt, decrypt, reasonOf, perSecond }: RoundTrip<S>): Load {
  const known: { readonly plaintext: Buffer; readonly sealed: S }[] = [];
  let tally = newTally();

  const newOne = async (): Promise<boolean> => {
    const plaintext = randomBytes(32);
    known.push({ plaintext, sealed: await encrypt(plaintext) });
    if (known.length > remembered) known.shift();
    return true;
  };
  const oldOne = async (): Promise<boolean> => {
    const one = known[Math.floor(Math.random() * known.length)];
    return one === undefined ? await newOne() : one.plaintext.equals(await decrypt(one.sealed));
  };

  const count = async (request: Promise<boolean>): Promise<void> => {
    const fail = (reason: string): void => {
      tally.failed.set(reason, (tally.failed.get(reason) ?? 0) + 1);
      tally.lastFailure = performance.now();
    };
    try {
      if (!(await request)) return fail("wrong answer");
      tally.ok += 1;
      tally.successes.push(performance.now());
    } catch (error) {
      fail(reasonOf(error));
    }
  };

  const pace = startPace(perSecond, (n) => count(n % 2 === 0 ? newOne() : oldOne()));

  return {
    take() {
      const taken = tally;
      tally = newTally();
      return taken;
    },
    stop: () => pace.stop(),
  };
}
