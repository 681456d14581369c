import assert from "node:assert/strict";
import { test } from "node:test";
import { createPacer } from "@claviger/gateway-server/src/http/pacer.ts";

/** Time that passes when it is told to, and when something that costs time is run. */
function start(costMs: number) {
  let at = 0;
  let turns: { readonly due: number; readonly run: () => void }[] = [];
  const ran: number[] = [];
  const pacer = createPacer({
    now: () => at,
    setTimeout: (run, milliseconds) => {
      turns.push({ due: at + milliseconds, run });
      return {} as NodeJS.Timeout;
    },
  });
  const cost = (): void => {
    at += costMs;
    ran.push(at);
  };
  /** Runs turns until none is left or so much time has passed. */
  const pass = (milliseconds: number): void => {
    for (const end = at + milliseconds; turns.length > 0 && at < end; ) {
      const [next, ...others] = turns;
      turns = others;
      at = Math.max(at, next?.due ?? 0);
      next?.run();
    }
  };
  return { pacer, cost, pass, ran, turns: () => turns.length, now: () => at };
}

test("one that comes by itself runs at once, and no timer stays behind", () => {
  const { pacer, cost, pass, ran, turns } = start(1);
  pacer.add(cost);
  assert.deepEqual(ran, [1]);
  pass(1000);
  assert.equal(turns(), 0);
  pacer.add(cost);
  assert.equal(ran.length, 2);
});

test("of a thousand that cost two milliseconds each all run in their order, and the longest stretch without a turn is short", () => {
  const { pacer, pass, ran, cost, now } = start(2);
  const order: number[] = [];
  for (let i = 0; i < 1000; i += 1)
    pacer.add(() => {
      order.push(i);
      cost();
    });
  assert.equal(ran.length, 16, "the first ones at once");
  assert.equal(pacer.waiting(), 984);
  pass(600_000);
  assert.deepEqual(
    order,
    Array.from({ length: 1000 }, (_, i) => i),
  );
  assert.ok(now() < 6000, `${now()} ms for 2,000 ms of work: the rest is others' time`);
  const stretches: number[] = [];
  let length = 1;
  for (const [i, time] of ran.entries())
    if (i > 16 && time - (ran[i - 1] ?? 0) === 2) length += 1;
    else {
      stretches.push(length);
      length = 1;
    }
  const longest = Math.max(...stretches.slice(20));
  assert.ok(longest <= 8, `${longest} in a turn`);
});

test("as many run in a turn as cost no time", () => {
  const { pacer, pass, ran, cost } = start(0);
  for (let i = 0; i < 1000; i += 1) pacer.add(cost);
  pass(5 * 70);
  assert.equal(ran.length, 1000);
});

test("those that wait are dropped when it is closed", () => {
  const { pacer, pass, ran, cost } = start(1);
  for (let i = 0; i < 100; i += 1) pacer.add(cost);
  pacer.close();
  pass(1000);
  assert.equal(ran.length, 16);
});
