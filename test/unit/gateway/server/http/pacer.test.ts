import assert from "node:assert/strict";
import { test } from "node:test";
import { createPacer } from "@claviger/gateway-server/src/http/pacer.ts";

/** Turns that come when they are told to. */
function start() {
  let turns: (() => void)[] = [];
  const ran: number[] = [];
  const pacer = createPacer({
    setTimeout: (run) => {
      turns.push(run);
      return {} as NodeJS.Timeout;
    },
  });
  const add = (count: number): void => {
    for (let i = 0; i < count; i += 1) pacer.add(() => void ran.push(ran.length));
  };
  /** @returns whether there was a turn to take */
  const turn = (): boolean => {
    const [next, ...others] = turns;
    turns = others;
    next?.();
    assert.ok(turns.length <= 1, "one timer at a time");
    return next !== undefined;
  };
  return { pacer, add, turn, ran };
}

test("some that come by themselves run at once, and no timer stays behind", () => {
  const { add, turn, ran, pacer } = start();
  add(1);
  assert.equal(ran.length, 1);
  add(5);
  assert.equal(ran.length, 6);
  assert.equal(pacer.waiting(), 0);
  assert.equal(turn(), true);
  assert.equal(turn(), true);
  assert.equal(turn(), false);
  add(1);
  assert.equal(ran.length, 7);
});

test("a thousand run in their order, six in a turn, and who comes later does not overtake", () => {
  const order: number[] = [];
  const { pacer, turn } = start();
  const add = (i: number): void => pacer.add(() => void order.push(i));
  for (let i = 0; i < 1000; i += 1) add(i);
  assert.equal(order.length, 6);
  assert.equal(pacer.waiting(), 994);
  turn();
  assert.equal(order.length, 12);
  add(1000);
  assert.equal(order.length, 12);
  for (let i = 0; i < 200; i += 1) turn();
  assert.deepEqual(
    order,
    Array.from({ length: 1001 }, (_, i) => i),
  );
  assert.equal(turn(), false);
});

test("those that wait are dropped when it is closed", () => {
  const { pacer, add, turn, ran } = start();
  add(100);
  pacer.close();
  turn();
  turn();
  assert.equal(ran.length, 6);
});
