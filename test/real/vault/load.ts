// A steady load at the level of backend and dispatcher, and what became of each request. The caller decides what counts as a failure.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { createDispatcher } from "@claviger/gateway/src/backend/dispatch.ts";
import type { OpenBackend } from "@claviger/gateway/src/backend/port.ts";
import { toKmsError } from "@claviger/proto/errors.ts";
import { clusterName } from "@claviger/proto/names.ts";
import { aad, refOf, soon } from "../backend/world.ts";

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

const newTally = (): Tally => ({ ok: 0, failed: new Map(), successes: [], lastFailure: 0 });
const tickMs = 10;

/** Half of `perSecond` encrypts, half decrypts what was encrypted before. Keeps its pace whatever the answers do. */
export const startLoad = (backend: OpenBackend, { perSecond = 200, deadlineMs = 3000, key = refOf("one") } = {}): Load => {
  const dispatcher = createDispatcher({ backend });
  const cluster = clusterName.parse("prod");
  const known: { readonly plaintext: Buffer; readonly ciphertext: Uint8Array }[] = [];
  const running = new Set<Promise<void>>();
  let tally = newTally();
  let isStopped = false;

  const encrypt = async (): Promise<boolean> => {
    const plaintext = randomBytes(32);
    const { ciphertext, version } = await dispatcher.wrap(cluster, key, { plaintext, associatedData: aad, version: 1 }, soon(deadlineMs));
    known.push({ plaintext, ciphertext });
    if (known.length > 500) known.shift();
    return version === 1;
  };
  const decrypt = async (): Promise<boolean> => {
    const one = known[Math.floor(Math.random() * known.length)];
    if (one === undefined) return await encrypt();
    const { plaintext } = await dispatcher.unwrap(
      cluster,
      key,
      { ciphertext: one.ciphertext, associatedData: aad, version: 1 },
      soon(deadlineMs),
    );
    return one.plaintext.equals(plaintext);
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
      fail(toKmsError(error).reason);
    }
  };

  const send = (n: number): void => {
    const one = count(n % 2 === 0 ? encrypt() : decrypt()).finally(() => running.delete(one));
    running.add(one);
  };
  const run = async (): Promise<void> => {
    const began = performance.now();
    for (let sent = 0; !isStopped; await sleep(tickMs)) {
      const due = Math.floor(((performance.now() - began) / 1000) * perSecond);
      while (sent < due) send(sent++);
    }
  };
  const runner = run();

  return {
    take() {
      const taken = tally;
      tally = newTally();
      return taken;
    },
    async stop() {
      isStopped = true;
      await runner;
      await Promise.all(running);
    },
  };
};
