import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createEndpointPool } from "@claviger/proto/runtime/endpoint-pool.ts";
import type { Clock } from "@claviger/proto/runtime/clock.ts";
import { KmsError, type Reason, toKmsError } from "@claviger/proto/wire/errors.ts";
import * as fc from "fast-check";

type State = Reason | "well" | "silent";

function setUp(states: Record<string, State>) {
  const asked: string[] = [];
  const changes: string[] = [];
  const late: string[] = [];
  const act = async (node: string, signal: AbortSignal): Promise<string> => {
    const state = states[node] ?? "well";
    if (state === "silent")
      await new Promise((_, reject) =>
        signal.addEventListener("abort", () => reject(new Error("aborted")), { once: true }),
      );
    else if (state !== "well") throw new KmsError(state);
    return node;
  };
  const order: readonly string[] = ["backend_sealed", "backend_rate_limited", "backend_unavailable"];
  const failover = createEndpointPool<string>({
    endpoints: Object.keys(states),
    nameOf: (node) => node,
    choice: "ordered",
    probe: async (node, signal) => void (await act(node, signal)),
    isFault: ({ reason }) => reason !== "cluster_suspended",
    isBusy: ({ reason }) => reason === "overloaded",
    moreSpecific: (x, y) => (order.indexOf(y.reason) < order.indexOf(x.reason) ? y : x),
    onChange: (node, failure) => void changes.push(`${node} ${failure === undefined ? "up" : "down"}`),
  });
  const run = (
    signal: AbortSignal = new AbortController().signal,
    isRepeatable = true,
    { leftMs = 10_000, hedge = false }: { leftMs?: number; hedge?: boolean } = {},
  ): Promise<string> =>
    failover
      .run({
        attempt: (node, own) => {
          asked.push(node);
          return act(node, own);
        },
        ...(!isRepeatable && { isUntouched: ({ reason }: KmsError) => reason === "backend_sealed" }),
        repeat: false,
        hedge,
        leftMs,
        discard: (node) => void late.push(node),
        signal,
      })
      .catch((error: unknown) => toKmsError(error).reason);
  return { states, asked, changes, run, failover };
}

suite("an endpoint pool", () => {
  test("goes on to the next address, and asks the failed one last until it is well again", async () => {
    const { states, asked, changes, run, failover } = setUp({ a: "backend_unavailable", b: "well" });
    assert.equal(await run(), "b");
    assert.equal(await run(), "b");
    assert.deepEqual(asked, ["a", "b", "b"]);
    states["a"] = "well";
    while (changes.length < 2) await sleep(10);
    assert.equal(await run(), "a");
    assert.deepEqual(changes, ["a down", "a up"]);
    failover.close();
  });

  test("with none left gives the most telling failure", async () => {
    const { run, failover } = setUp({ a: "backend_unavailable", b: "backend_sealed", c: "backend_rate_limited" });
    assert.equal(await run(), "backend_sealed");
    assert.equal(await run(), "backend_sealed");
    failover.close();
  });

  test("does not wait for a silent address alone", async () => {
    const { run, failover } = setUp({ a: "silent", b: "well" });
    const started = performance.now();
    assert.equal(await run(), "b");
    assert.ok(performance.now() - started < 900);
    assert.equal(await run(), "b");
    assert.ok(performance.now() - started < 950);
    failover.close();
  });

  test("sends what must not happen twice on only when the first surely did nothing", async () => {
    const { asked, run, failover } = setUp({ a: "backend_unavailable", b: "well" });
    assert.equal(await run(undefined, false), "backend_unavailable");
    assert.deepEqual(asked, ["a"]);
    failover.close();
    const sealed = setUp({ a: "backend_sealed", b: "well" });
    assert.equal(await sealed.run(undefined, false), "b");
    sealed.failover.close();
  });

  test("ends with the caller's signal, and does not start after it", async () => {
    const { asked, run, failover } = setUp({ a: "silent" });
    assert.equal(await run(AbortSignal.timeout(20)), "deadline_exceeded");
    assert.equal(await run(AbortSignal.abort(new KmsError("canceled"))), "canceled");
    assert.deepEqual(asked, ["a"]);
    failover.close();
  });

  test("one that answers but cannot serve is asked after the others, and is not down", async () => {
    const { asked, changes, run, failover } = setUp({ a: "overloaded", b: "well" });
    for (let i = 0; i < 5; i += 1) assert.equal(await run(), "b");
    assert.deepEqual(asked, ["a", "b", "b", "b", "b", "b"]);
    assert.deepEqual(changes, []);
    assert.deepEqual(
      failover.states().map(({ isUp }) => isUp),
      [true, true],
    );
    failover.close();
  });

  test("an endpoint's decision is final", async () => {
    const { asked, run, failover } = setUp({ a: "cluster_suspended", b: "well" });
    assert.equal(await run(), "cluster_suspended");
    assert.deepEqual(asked, ["a"]);
    failover.close();
  });

  test("one that is well among five is enough, within 800 ms, whatever the others do", async () => {
    for (const bad of ["silent", "backend_unavailable", "internal"] as const)
      for (const hedge of [true, false]) {
        const { run, failover } = setUp({ a: bad, b: bad, c: bad, d: bad, e: "well" });
        for (let i = 0; i < 3; i++) assert.equal(await run(undefined, true, { leftMs: 800, hedge }), "e");
        failover.close();
      }
  });

  test("a caller's time ends its call, whatever the endpoints do", async () => {
    const { run, failover } = setUp({ a: "silent", b: "silent" });
    const began = performance.now();
    assert.equal(await run(undefined, true, { leftMs: 100 }), "deadline_exceeded");
    assert.ok(performance.now() - began < 400);
    failover.close();
  });
});

suite("an endpoint pool under a clock of its own", () => {
  /**
   * Endpoints that answer after so many milliseconds; Infinity never does. A first answer of each
   * takes so many more, for its connection. One that is busy says so at once, and for a minute.
   */
  function slowPool(times: Record<string, number>, { warm = false, connectMs = 0, busy = "" } = {}) {
    let now = 0;
    const timers = new Map<object, { readonly at: number; readonly run: () => void }>();
    const clock: Clock = {
      now: () => now,
      setTimeout: (run, milliseconds) => {
        const key = { unref: () => {} };
        timers.set(key, { at: now + milliseconds, run });
        return key as unknown as NodeJS.Timeout;
      },
      clearTimeout: (timer) => void timers.delete(timer),
    };
    const changes: string[] = [];
    const asked: string[] = [];
    const probed: string[] = [];
    const connected = new Map<string, number>();
    const answer = (node: string, signal: AbortSignal): Promise<string> =>
      new Promise((resolve, reject) => {
        const connectedAt = connected.get(node) ?? now + connectMs;
        connected.set(node, connectedAt);
        const ms = Math.max(0, connectedAt - now) + (times[node] ?? 0);
        if (Number.isFinite(ms)) clock.setTimeout(() => resolve(node), ms);
        signal.addEventListener("abort", () => reject(new Error("aborted")));
      });
    const pool = createEndpointPool<string>({
      endpoints: Object.keys(times),
      nameOf: (node) => node,
      choice: "ordered",
      warm,
      probe: async (node, signal) => {
        probed.push(node);
        await answer(node, signal);
      },
      isFault: () => true,
      isBusy: ({ reason }) => reason === "overloaded",
      onChange: (node, failure) => void changes.push(`${node} ${failure === undefined ? "up" : "down"}`),
      clock,
    });
    const flush = async (): Promise<void> => {
      for (let i = 0; i < 20; i++) await Promise.resolve();
    };
    /** Lets time pass until the promise is done. */
    const drive = async <T>(promise: Promise<T>): Promise<T> => {
      let isDone = false;
      promise.then(
        () => (isDone = true),
        () => (isDone = true),
      );
      for (await flush(); !isDone; await flush()) {
        const next = [...timers].toSorted(([, a], [, b]) => a.at - b.at)[0];
        if (next === undefined) throw new Error("nothing will ever happen");
        timers.delete(next[0]);
        now = Math.max(now, next[1].at);
        next[1].run();
      }
      return await promise;
    };
    const run = (leftMs: number, hedge = false): Promise<string> =>
      drive(
        pool.run({
          attempt: (node, signal) => {
            asked.push(node);
            if (node === busy) return Promise.reject(new KmsError("overloaded", { retryAfterMs: 60_000 }));
            return answer(node, signal);
          },
          leftMs,
          signal: new AbortController().signal,
          hedge,
          repeat: false,
          discard: () => {},
        }),
      );
    const pass = (milliseconds: number): Promise<void> =>
      drive(new Promise((resolve) => void clock.setTimeout(resolve, milliseconds)));
    return { times, changes, asked, probed, run, pass, pool, now: () => now };
  }

  test("slow is not down: two that take 700 and 1,200 ms change no state, and every call is served", async () => {
    const { changes, asked, run } = slowPool({ a: 700, b: 1200 });
    for (let i = 0; i < 50; i++) assert.equal(await run(3000), "a");
    assert.deepEqual(changes, []);
    // The first call knew nothing of them yet.
    assert.ok(asked.length <= 52, `${asked.length} requests for 50 calls`);
  });

  test("one of 150 ms is not hedged at every call", async () => {
    const { asked, run } = slowPool({ a: 150, b: 150, c: 150 });
    for (let i = 0; i < 50; i++) await run(800, true);
    assert.ok(asked.length <= 55, `${asked.length} requests for 50 calls`);
  });

  test("one that says it cannot serve for a minute is asked once a minute, and is no hedge meanwhile", async () => {
    const { times, asked, run, pass } = slowPool({ a: 0, b: 5 }, { busy: "a" });
    const count = (): number => asked.filter((node) => node === "a").length;
    for (let i = 0; i < 50; i++) assert.equal(await run(3000, true), "b");
    assert.equal(count(), 1);
    // Later than a hedge comes, and earlier than what is overdue.
    times["b"] = 100;
    assert.equal(await run(3000, true), "b");
    assert.equal(count(), 1);
    await pass(60_000);
    for (let i = 0; i < 50; i++) assert.equal(await run(3000, true), "b");
    assert.equal(count(), 2);
  });

  test("one that has just started finds the one of five that answers, far as it is, in less than a second", async () => {
    const times = { a: Infinity, b: Infinity, c: Infinity, d: Infinity, e: 150 };
    for (const hedge of [true, false]) {
      const { asked, run, now } = slowPool(times, { warm: true, connectMs: 300 });
      for (let i = 0; i < 3; i++) {
        const began = now();
        assert.equal(await run(1000, hedge), "e");
        assert.ok(now() - began <= 4 * 50 + 450, `call ${i} took ${now() - began} ms`);
      }
      // From the first answer on the others are known to have given none.
      assert.deepEqual(asked, ["a", "b", "c", "d", "e", "e", "e"]);
    }
  });

  test("what is warmed before the first call is asked first", async () => {
    const times = { a: Infinity, b: Infinity, c: 40 };
    const { asked, probed, run, pass } = slowPool(times, { warm: true, connectMs: 80 });
    assert.deepEqual(probed, ["a", "b", "c"]);
    await pass(200);
    assert.equal(await run(1000), "c");
    assert.deepEqual(asked, ["c"]);
  });

  test("when all that are known to be quick go silent at once, the last one is asked in time", async () => {
    const { times, run, now } = slowPool({ a: 150, b: 150, c: 150, d: 150, e: 150 });
    for (let i = 0; i < 10; i++) await run(1000);
    // Each has answered, so each is thought to answer within its usual time.
    for (const node of ["a", "b", "c", "d"] as const) {
      times[node] = Infinity;
      const began = now();
      await run(1000);
      assert.ok(now() - began <= 800, `${now() - began} ms without ${node}`);
    }
  });

  test("an endpoint that keeps its name keeps what is known of it", async () => {
    const { times, asked, changes, run, pass, pool } = slowPool({ a: Infinity, b: 40 });
    for (let i = 0; i < 3; i++) await run(1000);
    await pass(7000);
    assert.deepEqual(changes, ["a down"]);
    const before = pool.states();
    pool.replace(["c", "a", "b"]);
    assert.deepEqual(
      pool.states().filter(({ endpoint }) => endpoint !== "c"),
      before,
    );
    asked.length = 0;
    times["c"] = Infinity;
    assert.equal(await run(1000), "b");
    assert.deepEqual(asked, ["c", "b"]);
    // The list brought back to what it was is no reason to believe that it is up, but one to look.
    times["a"] = 40;
    pool.replace(["a", "b"]);
    assert.equal(pool.states()[0]?.isUp, false);
    await pass(100);
    assert.deepEqual(changes, ["a down", "a up"]);
  });

  test("however many are silent, the call is served in its time while one answers", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(Infinity, 0, 5, 40), { minLength: 0, maxLength: 4 }),
        fc.constantFrom(0, 5, 40, 150),
        fc.nat(4),
        fc.constantFrom(800, 2800),
        fc.boolean(),
        async (others, good, at, leftMs, hedge) => {
          const all = [...others];
          all.splice(Math.min(at, all.length), 0, good);
          const { run, now } = slowPool(Object.fromEntries(all.map((ms, i) => [`e${i}`, ms])));
          for (let i = 0; i < 5; i++) {
            const began = now();
            await run(leftMs, hedge);
            assert.ok(now() - began <= leftMs);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
