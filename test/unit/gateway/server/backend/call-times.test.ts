import assert from "node:assert/strict";
import { test } from "node:test";
import { createCallTimes } from "@claviger/gateway-server/src/backend/call-times.ts";

function start() {
  let now = 0;
  return { times: createCallTimes(() => now), pass: (ms: number) => void (now += ms) };
}

test("nothing is known before the first call", () => {
  const { times } = start();
  assert.equal(times.longestMs(), 0);
  assert.equal(times.shortestMs(), 0);
});

test("the longest call of the last seconds counts, and is forgotten after them", () => {
  const { times, pass } = start();
  times.add(90);
  times.add(5);
  assert.equal(times.longestMs(), 90);
  pass(2000);
  times.add(6);
  assert.equal(times.longestMs(), 90, "of the span before");
  pass(2000);
  times.add(7);
  assert.equal(times.longestMs(), 7);
  pass(60_000);
  assert.equal(times.longestMs(), 0);
});

test("a call that hung does not make all others hopeless", () => {
  const { times } = start();
  times.add(9000);
  assert.equal(times.longestMs(), 250);
});

test("the shortest call of minutes says how far away the backend is, whatever a storm makes of it", () => {
  const { times, pass } = start();
  times.add(3);
  for (let second = 0; second < 299; second += 1) {
    pass(1000);
    times.add(80);
  }
  assert.equal(times.shortestMs(), 3);
  pass(300_000);
  times.add(80);
  pass(300_000);
  times.add(80);
  assert.equal(times.shortestMs(), 80);
});
