// What gateways write of each ten seconds.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type HistoryStep,
  keptSteps,
  readHistoryNames,
  readHistorySteps,
  reportHistory,
  stepMs,
  writeHistoryStep,
} from "@claviger/gateway-core/src/redis/histories.ts";
import { createManualClock } from "../../../proto/runtime/manual-clock.ts";
import { createFakeRedis } from "./fakes.ts";

const secret = Buffer.alloc(32, 7);
/** In the middle of a step. */
const T = 1_700_000_004_000;
const begun = 1_700_000_000_000;
const blue = "01M8CZX875MFSCYTBWR058VXTG";
const step = (at: number, more: Partial<HistoryStep> = {}): HistoryStep => ({
  at,
  calls: [3, 1, 2],
  refusals: { overloaded: 2 },
  clusters: { [blue]: { calls: [3, 1, 2], refusals: { overloaded: 2 } } },
  ...more,
});

function world() {
  const clock = createManualClock();
  const now = (): number => T + clock.now();
  const server = createFakeRedis(now);
  const redis = server.open();
  const keys = { own: secret as Uint8Array | undefined };
  let taken = 0;
  const report = (name = "gateway-1:8443") =>
    reportHistory({
      redis,
      secret: () => keys.own,
      name,
      take: () => ({ calls: [(taken += 1), 0, 0], refusals: {}, clusters: {} }),
      now,
      clock,
    });
  const read = async (...steps: readonly number[]) =>
    (await readHistorySteps(redis, secret, "gateway-1:8443", steps)).map((one) => one?.calls[0]);
  return { clock, keys, server, redis, report, read, now };
}

test("a step is read as it was written, under its own time and no other", async () => {
  const { redis } = world();
  const whole = step(begun, { eventLoop: 0.5, connections: 3, down: ["https://a:1"], latency: { "https://b:1": 4 } });
  await writeHistoryStep(redis, secret, "g:1", whole);
  await writeHistoryStep(redis, secret, "g:1", step(begun + stepMs, { refusals: {}, clusters: {} }));
  assert.deepEqual(await readHistorySteps(redis, secret, "g:1", [begun, begun + stepMs, begun + 2 * stepMs]), [
    whole,
    step(begun + stepMs, { refusals: {}, clusters: {} }),
    undefined,
  ]);
  // An hour later the same field is another step's.
  assert.deepEqual(await readHistorySteps(redis, secret, "g:1", [begun + keptSteps * stepMs]), [undefined]);
  assert.deepEqual(await readHistorySteps(redis, secret, "g:1", []), []);
});

test("what nobody with the key has written in that place is not there", async () => {
  const { redis, server } = world();
  // The first place of the ring, and the second.
  const [zero, one] = [begun, begun + stepMs];
  await writeHistoryStep(redis, secret, "g:1", step(one));
  const { 1: value = "" } = server.hash("history:g:1");
  server.setHash("history:g:1", { 0: value, 1: value.replace('"at"', '"AT"') });
  server.setHash("history:g:2", { 1: value });
  for (const name of ["g:1", "g:2"])
    assert.deepEqual(await readHistorySteps(redis, secret, name, [zero, one]), [undefined, undefined], name);
});

test("each step is written when it is over, and what was begun at the end", async () => {
  const { clock, report, read } = world();
  const reporter = report();
  await clock.pass(5999);
  assert.deepEqual(await read(begun), [undefined], "it is not over");
  await clock.pass(1);
  assert.deepEqual(await read(begun), [1]);
  await clock.pass(stepMs);
  assert.deepEqual(await read(begun, begun + stepMs, begun + 2 * stepMs), [1, 2, undefined]);
  await reporter.close();
  assert.deepEqual(await read(begun + 2 * stepMs), [3]);
  await clock.pass(10 * stepMs);
  assert.deepEqual(await read(begun + 3 * stepMs), [undefined], "nothing follows");
});

test("without the integrity key nothing is written, and what was counted then is nobody else's", async () => {
  const { clock, keys, report, read } = world();
  keys.own = undefined;
  const reporter = report();
  await clock.pass(6000);
  keys.own = secret;
  await clock.pass(stepMs);
  assert.deepEqual(await read(begun, begun + stepMs), [undefined, 2]);
  await reporter.close();
});

test("a gateway is named as long as something of it is kept, and then no more", async () => {
  const { clock, redis, report, now } = world();
  const [first, second] = [report("a:1"), report("b:1")];
  await clock.pass(6000);
  assert.deepEqual((await readHistoryNames(redis, secret, now())).names.toSorted(), ["a:1", "b:1"]);
  await first.close();
  for (let i = 0; i < keptSteps + 8; i += 1) await clock.pass(stepMs);
  assert.deepEqual((await readHistoryNames(redis, secret, now())).names, ["b:1"]);
  assert.deepEqual(Object.keys(await redis.all("histories")), ["b:1"], "what is over is taken away");
  await second.close();
});
