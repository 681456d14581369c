// One round: who is asked when, what ends it, and what is noted of whom.
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { suite, test } from "node:test";
import type { EndpointHealth, Entry } from "@claviger/proto/runtime/endpoint-health.ts";
import { lost, type PoolCall, type RoundResult, runRound } from "@claviger/proto/runtime/endpoint-round.ts";
import { KmsError, type Reason } from "@claviger/proto/wire/errors.ts";
import { turn } from "./batch-results.ts";
import { createManualClock } from "./manual-clock.ts";

const down = new KmsError("backend_unavailable");

/** What an endpoint does: answers or fails after so many milliseconds, or never (Infinity). */
type Does = {
  readonly ms: number;
  readonly reason?: Reason;
  readonly latencyMs?: number;
  readonly isDown?: boolean;
  readonly isBusy?: boolean;
};
const silent: Does = { ms: Number.POSITIVE_INFINITY };

function setUp(
  endpoints: Readonly<Record<string, Does>>,
  { budget = 99, ...call }: Partial<PoolCall<string, string>> & { readonly budget?: number } = {},
) {
  const clock = createManualClock();
  const left = { budget };
  const notes: string[] = [];
  const asked: string[] = [];
  const aborts: Record<string, unknown> = {};
  const discarded: string[] = [];
  const extra = { count: 0 };
  const entries = Object.entries(endpoints).map(
    ([endpoint, { latencyMs, isDown }]) =>
      ({ endpoint, latencyMs, failure: isDown === true ? down : undefined }) as unknown as Entry<string>,
  );
  const health: EndpointHealth<string> = {
    entries: () => entries,
    order: () => entries,
    isBusy: ({ endpoint }) => endpoints[endpoint]?.isBusy === true,
    answered: ({ endpoint }, ms) => void notes.push(`${endpoint} answered ${ms}`),
    failed: ({ endpoint }, { reason }) => void notes.push(`${endpoint} ${reason}`),
    late: ({ endpoint }, ms) => void notes.push(`${endpoint} late ${ms}`),
    replace: () => {},
    states: () => [],
    close: () => {},
  };
  const attempt = (endpoint: string, signal: AbortSignal): Promise<string> => {
    asked.push(`${endpoint} ${Math.round(clock.now())}`);
    signal.addEventListener("abort", () => void (aborts[endpoint] = signal.reason));
    const { ms, reason } = endpoints[endpoint] ?? silent;
    return new Promise((resolve, reject) => {
      const end = (): void => (reason === undefined ? resolve(endpoint) : reject(new KmsError(reason)));
      if (ms === 0) end();
      else if (Number.isFinite(ms)) clock.setTimeout(end, ms);
    });
  };
  const caller = new AbortController();
  /** The result, and when it was there, once the time of the call is over. */
  const run = async (leftMs = 1000) => {
    let ended: RoundResult<string> | undefined;
    let at = Number.NaN;
    const options = {
      health,
      isFault: ({ reason }: KmsError) => reason !== "cluster_suspended",
      isFull: ({ reason }: KmsError) => reason === "overloaded",
      moreSpecific: (a: KmsError, b: KmsError) => (b.reason === "backend_sealed" ? b : a),
      onExtra: () => void (extra.count += 1),
      spend: () => (left.budget -= 1) >= 0,
      clock,
    };
    const discard = (value: string): void => void discarded.push(value);
    const whole = { attempt, leftMs, signal: caller.signal, hedge: false, repeat: false, discard, ...call };
    void runRound(options, whole, clock.now() + leftMs).then((result) => {
      [ended, at] = [result, clock.now()];
    });
    await clock.pass(leftMs);
    await turn();
    if (ended === undefined) assert.fail("the round has not ended");
    const result = "value" in ended ? ended.value : `${ended.failure.reason}${ended.isFinal ? ", final" : ""}`;
    return { result, at };
  };
  return { clock, caller, left, notes, asked, aborts, discarded, extra, run };
}

suite("The next endpoint is asked", () => {
  const table: readonly (readonly [string, Record<string, Does>, number, readonly string[]])[] = [
    [
      "beside one of which nothing is known after 50 ms",
      { a: silent, b: silent, c: silent, d: silent },
      1000,
      ["a 0", "b 50", "c 100", "d 150"],
    ],
    [
      "earlier where the call's time is short: all within two fifths of it",
      { a: silent, b: silent, c: silent, d: silent },
      100,
      ["a 0", "b 13", "c 27", "d 40"],
    ],
    [
      "at once when two fifths of the time are over",
      { a: { ...silent, latencyMs: 30 }, b: silent, c: silent },
      100,
      ["a 0", "b 45", "c 45"],
    ],
    [
      "beside one that is down as beside an unknown one",
      { a: { ...silent, latencyMs: 10, isDown: true }, b: silent },
      1000,
      ["a 0", "b 50"],
    ],
    ["beside one that is quick after 200 ms", { a: { ...silent, latencyMs: 10 }, b: silent }, 1000, ["a 0", "b 200"]],
    [
      "beside another after six times its usual time",
      { a: { ...silent, latencyMs: 40 }, b: silent },
      1000,
      ["a 0", "b 240"],
    ],
    [
      "at two fifths of the call's time at the latest",
      { a: { ...silent, latencyMs: 100 }, b: silent },
      1000,
      ["a 0", "b 400"],
    ],
    [
      "but not before the first has had half as long again as it takes",
      { a: { ...silent, latencyMs: 300 }, b: silent },
      1000,
      ["a 0", "b 450"],
    ],
    [
      "in time also beside a second one that is slow",
      { a: silent, b: { ...silent, latencyMs: 1000 }, c: silent },
      1000,
      ["a 0", "b 50", "c 400"],
    ],
    [
      "beside a second one that is quick when that one is overdue",
      { a: silent, b: { ...silent, latencyMs: 10 }, c: silent },
      1000,
      ["a 0", "b 50", "c 250"],
    ],
  ];
  for (const [what, endpoints, leftMs, times] of table)
    test(what, async () => {
      const { asked, extra, run } = setUp(endpoints);
      assert.deepEqual(await run(leftMs), { result: "deadline_exceeded, final", at: leftMs });
      assert.deepEqual([asked, extra.count], [times, times.length - 1]);
    });

  test("as a hedge after four times the usual time, 30 ms at least, if there is a budget for it", async () => {
    for (const [latencyMs, budget, times] of [
      [10, 99, ["a 0", "b 40"]],
      [5, 99, ["a 0", "b 30"]],
      [40, 99, ["a 0", "b 160"]],
      [100, 99, ["a 0", "b 400"]],
      [10, 0, ["a 0", "b 200"]],
    ] as const) {
      const { asked, run } = setUp({ a: { ...silent, latencyMs }, b: silent }, { hedge: true, budget });
      await run();
      assert.deepEqual(asked, times, `${latencyMs} ms, ${budget}`);
    }
  });

  test("as a hedge once for each that was asked, out of the budget, and then when it is overdue", async () => {
    const quick = { ...silent, latencyMs: 10 };
    for (const [budget, times] of [
      [1, ["a 0", "b 40", "c 240"]],
      [2, ["a 0", "b 40", "c 80"]],
    ] as const) {
      const { asked, run } = setUp({ a: quick, b: quick, c: quick }, { hedge: true, budget });
      await run();
      assert.deepEqual(asked, times);
    }
  });

  test("not as a hedge where it has said that it is busy, nor at a price where it is the next anyway", async () => {
    const known = { ...silent, latencyMs: 10 };
    const isBusy = setUp({ a: known, b: { ...silent, isBusy: true } }, { hedge: true });
    await isBusy.run();
    assert.deepEqual(isBusy.asked, ["a 0", "b 200"]);
    const free = setUp({ a: silent, b: silent }, { hedge: true, budget: 7 });
    await free.run();
    assert.deepEqual([free.asked, free.left.budget], [["a 0", "b 50"], 7]);
  });

  test("not as a hedge where it is down, and in its share of the time only, unless the one asked is down as well", async () => {
    const known = { ...silent, latencyMs: 10 };
    for (const [what, endpoints, times] of [
      ["a is up", { a: known, b: { ...known, isDown: true } }, ["a 0", "b 400"]],
      [
        "of two, each has its share",
        { a: known, b: { ...known, isDown: true }, c: { ...known, isDown: true } },
        ["a 0", "b 200", "c 250"],
      ],
      ["a is down", { a: { ...known, isDown: true }, b: { ...known, isDown: true } }, ["a 0", "b 50"]],
      ["of a nothing is known", { a: silent, b: { ...known, isDown: true } }, ["a 0", "b 50"]],
    ] as const) {
      const { asked, run } = setUp(endpoints, { hedge: true });
      await run();
      assert.deepEqual(asked, times, what);
    }
  });

  test("not beside another where two must not see the call", async () => {
    const { asked, run } = setUp(
      { a: { ...silent, latencyMs: 5 }, b: silent },
      { isUntouched: () => true, hedge: true },
    );
    await run();
    assert.deepEqual(asked, ["a 0"]);
  });

  test("at once when one has failed, and its own patience begins anew", async () => {
    const { asked, notes, run } = setUp({
      a: silent,
      b: { ms: 10, reason: "backend_unavailable" },
      c: silent,
      d: silent,
    });
    await run();
    assert.deepEqual(asked, ["a 0", "b 50", "c 60", "d 110"]);
    assert.deepEqual(notes, ["b backend_unavailable", "a late 1000", "c late 940", "d late 890"]);
  });
});

suite("A round ends", () => {
  test("with the first answer: the others are told that they have lost, and are late where they are overdue", async () => {
    const { clock, caller, asked, notes, aborts, run } = setUp({ a: silent, b: silent, c: { ms: 20 }, d: silent });
    const ended = await run();
    assert.deepEqual(ended, { result: "c", at: 120 });
    assert.deepEqual(asked, ["a 0", "b 50", "c 100"]);
    assert.deepEqual(notes, ["c answered 20", "a late 120", "b late 70"]);
    assert.deepEqual([aborts["a"], aborts["b"], "d" in aborts], [lost, lost, false]);
    assert.deepEqual([clock.waiting(), getEventListeners(caller.signal, "abort").length], [0, 0]);
  });

  test("with an answer that nobody else is asked for, and aborts nothing", async () => {
    const { aborts, run } = setUp({ a: { ms: 5 }, b: silent });
    assert.deepEqual(await run(), { result: "a", at: 5 });
    assert.deepEqual(aborts, {});
  });

  test("without anybody late who has had less than the time that it is overdue after", async () => {
    const { notes, run } = setUp({ a: { ...silent, latencyMs: 10 }, b: { ms: 50 } }, { hedge: true });
    assert.deepEqual(await run(), { result: "b", at: 90 });
    assert.deepEqual(notes, ["b answered 50"]);
    const due = setUp({ a: { ...silent, latencyMs: 10 }, b: { ms: 160 } }, { hedge: true });
    assert.deepEqual(await due.run(), { result: "b", at: 200 });
    assert.deepEqual(due.notes, ["b answered 160", "a late 200"]);
  });

  test("and discards what comes after it, but notes the answer; a failure after it is nobody's", async () => {
    const { notes, discarded, run } = setUp({ a: { ms: 300 }, b: { ms: 100 }, c: { ms: 200, reason: "internal" } });
    assert.deepEqual(await run(), { result: "b", at: 150 });
    assert.deepEqual(discarded, ["a"]);
    assert.deepEqual(notes, ["b answered 100", "a late 150", "c late 50", "a answered 300"]);
  });

  test("when all have failed, not for good, with the failure that says most", async () => {
    const { notes, asked, run } = setUp({
      a: { ms: 5, reason: "backend_unavailable" },
      b: { ms: 5, reason: "backend_sealed" },
      c: { ms: 5, reason: "internal" },
    });
    assert.deepEqual(await run(), { result: "backend_sealed", at: 15 });
    assert.deepEqual(asked, ["a 0", "b 5", "c 10"]);
    assert.deepEqual(notes, ["a backend_unavailable", "b backend_sealed", "c internal"]);
  });

  test("not before the last one that was asked has answered", async () => {
    const { run } = setUp({ a: { ms: 300 }, b: { ms: 10, reason: "backend_unavailable" } });
    assert.deepEqual(await run(), { result: "a", at: 300 });
  });

  test("for good with a decision, which is no failure of its endpoint", async () => {
    const { notes, asked, run } = setUp({ a: { ms: 5, reason: "cluster_suspended" }, b: { ms: 5 } });
    assert.deepEqual(await run(), { result: "cluster_suspended, final", at: 5 });
    assert.deepEqual([asked, notes], [["a 0"], []]);
  });

  test("for good where one has failed that may have done something, and goes on where it has done nothing", async () => {
    const isUntouched = ({ reason }: KmsError): boolean => reason === "backend_sealed";
    const touched = setUp({ a: { ms: 5, reason: "backend_unavailable" }, b: { ms: 5 } }, { isUntouched });
    assert.deepEqual(await touched.run(), { result: "backend_unavailable, final", at: 5 });
    assert.deepEqual([touched.asked, touched.notes], [["a 0"], ["a backend_unavailable"]]);
    const untouched = setUp({ a: { ms: 5, reason: "backend_sealed" }, b: { ms: 5 } }, { isUntouched });
    assert.deepEqual(await untouched.run(), { result: "b", at: 10 });
  });

  test("for good with the caller's time: with a failure where there was one, and who is asked is told", async () => {
    const { aborts, run } = setUp({ a: { ms: 5, reason: "backend_sealed" }, b: silent });
    assert.deepEqual(await run(), { result: "backend_sealed, final", at: 1000 });
    assert.equal((aborts["b"] as KmsError).reason, "backend_sealed");
    assert.deepEqual(await setUp({ a: silent }).run(0), { result: "deadline_exceeded, final", at: 0 });
    const nobody = setUp({});
    assert.deepEqual(await nobody.run(), { result: "deadline_exceeded, final", at: 1000 });
  });

  test("for good when the caller leaves, and does not begin when he has left before", async () => {
    const { clock, caller, aborts, asked, run } = setUp({ a: silent });
    clock.setTimeout(() => caller.abort(), 30);
    assert.deepEqual(await run(), { result: "canceled, final", at: 30 });
    assert.equal((aborts["a"] as KmsError).reason, "canceled");
    assert.equal(clock.waiting(), 0);
    assert.deepEqual(await run(), { result: "canceled, final", at: 1000 });
    assert.deepEqual(asked, ["a 0"]);
  });
});
