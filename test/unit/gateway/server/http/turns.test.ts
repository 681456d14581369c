// How long a request can have waited in its socket: under a clock, idle time and turns that the test moves,
// and once in the event loop of this process.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { createTurns } from "@claviger/gateway-server/src/http/turns.ts";

function start() {
  let [now, idle] = [0, 0];
  const hooks: (() => void)[] = [];
  const turns = createTurns({ now: () => now, idleMs: () => idle, afterReading: (run) => void hooks.push(run) });
  return {
    turns,
    work: (ms: number) => void (now += ms),
    sleep: (ms: number) => {
      now += ms;
      idle += ms;
    },
    /** The loop has read and worked, and goes on to its next turn. */
    turn: () => hooks.shift()?.(),
    hooks,
  };
}

test("what an idle loop reads has waited only since it woke up", () => {
  const { turns, work, sleep, turn } = start();
  turn();
  work(80);
  turn();
  sleep(1000);
  assert.equal(turns.waitedMs(), 0);
  work(7);
  assert.equal(turns.waitedMs(), 7);
});

test("what a busy loop reads may have come when it last looked: the turn before counts", () => {
  const { turns, work, sleep, turn } = start();
  turn();
  sleep(500);
  work(80);
  turn();
  assert.equal(turns.waitedMs(), 80);
  work(30);
  assert.equal(turns.waitedMs(), 110);
  turn();
  assert.equal(turns.waitedMs(), 30, "only the turn before, not all of them");
});

test("it looks at each turn until it is closed", () => {
  const { turns, turn, hooks } = start();
  for (let i = 0; i < 3; i += 1) turn();
  assert.equal(hooks.length, 1);
  turns.close();
  turn();
  assert.equal(hooks.length, 0);
});

test("in a real loop: a turn that took long shows in the next one, and an idle loop is not kept awake", async () => {
  const turns = createTurns();
  await nextTurn();
  const until = performance.now() + 60;
  while (performance.now() < until);
  // Whatever is read now was possibly there when the loop began to spin.
  assert.ok(turns.waitedMs() >= 60);
  await nextTurn();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(turns.waitedMs() < 60, "it slept since");
  turns.close();
});
