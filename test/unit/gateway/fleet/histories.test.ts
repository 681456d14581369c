// The last hour and the last month, as the service puts them together and tells them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLog } from "@claviger/proto/runtime/log.ts";
import { clusterUid } from "@claviger/proto/wire/names.ts";
import { type HistoryStep, stepMs, writeHistoryStep } from "@claviger/gateway-core/src/redis/histories.ts";
import { signValue } from "@claviger/gateway-core/src/redis/signed-value.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { createHistories, noHistories } from "../../../../gateway/fleet/src/histories/histories.ts";
import { createHour } from "../../../../gateway/fleet/src/histories/hour.ts";
import { nodesSeries } from "../../../../gateway/fleet/src/histories/hour-steps.ts";
import { createKeeper } from "../../../../gateway/fleet/src/histories/keeper.ts";
import { hourMs, readMonth } from "../../../../gateway/fleet/src/histories/months.ts";
import { createFakeRedis } from "../core/redis/fakes.ts";

const secret = Buffer.alloc(32, 7);
const blue = clusterUid.parse("01M8CZX875MFSCYTBWR058VXTG");
const red = clusterUid.parse("01M8CZX875MFSCYTBWR058VXTH");
/** An hour begins here. */
const hour = Math.floor(1_700_000_000_000 / hourMs) * hourMs;

function world(start: number) {
  const time = { now: start };
  const now = (): number => time.now;
  const server = createFakeRedis(now);
  const redis = server.open();
  const keys = { own: secret as Uint8Array | undefined };
  const read = createHour({ redis, secret: () => keys.own, now });
  const histories = createHistories({ source: { redis, secret: () => keys.own, hour: read }, now });
  /** What a gateway has told of a step. */
  const tell = async (name: string, at: number, own: Partial<HistoryStep> = {}): Promise<void> => {
    const counts = { calls: [1, 0, 0] as const, refusals: {} };
    await writeHistoryStep(redis, secret, name, { at, ...counts, clusters: { [blue]: counts }, ...own });
    await redis.put("histories", name, signValue(secret, `histories/${name}`, String(now())), hourMs);
  };
  return { time, server, redis, keys, read, histories, tell };
}

test("steps of all gateways add up, and a step of which nobody has told is not there", async (t) => {
  const { time, read, histories, tell } = world(hour + 100_000);
  t.after(() => read.close());
  const refused = { calls: [0, 2, 3] as const, refusals: { overloaded: 2 } };
  await tell("a:1", hour, {
    eventLoop: 0.2,
    connections: 5,
    down: ["https://v:1"],
    latency: { "https://w:1": 3 },
    batches: [2, 9],
  });
  await tell("b:1", hour, { ...refused, clusters: { [red]: refused } });
  await tell("a:1", hour + 8 * stepMs, { calls: [0, 0, 0], clusters: {} });
  const fleet = await histories.of("fleet", "hour");
  assert.equal(fleet.incomplete, "");
  assert.deepEqual([fleet.stepMs, fleet.until - fleet.from, fleet.until], [stepMs, hourMs, hour + 100_000]);
  assert.deepEqual(fleet.points, [
    { at: hour, knownMs: stepMs, gateways: 2, calls: [1, 2, 3], refusals: { overloaded: 2 } },
    { at: hour + 8 * stepMs, knownMs: stepMs, gateways: 1, calls: [0, 0, 0], refusals: {} },
  ]);
  const of = async (uid: string) =>
    (await histories.of(`cluster/${uid}`, "hour")).points.map(({ calls, refusals }) => ({ calls, refusals }));
  const nothing = { calls: [0, 0, 0], refusals: {} };
  assert.deepEqual(await of(blue), [{ calls: [1, 0, 0], refusals: {} }, nothing]);
  assert.deepEqual(await of(red), [refused, nothing]);
  assert.deepEqual(await of("01M8CZX875MFSCYTBWR058VXTK"), [nothing, nothing], "no call is known, too");
  const [gateway] = (await histories.of("gateway/a:1", "hour")).points;
  assert.deepEqual(gateway, {
    at: hour,
    knownMs: stepMs,
    gateways: 1,
    calls: [1, 0, 0],
    refusals: {},
    eventLoop: 0.2,
    connections: 5,
    down: ["https://v:1"],
    latency: { "https://w:1": 3 },
    batches: [2, 9],
  });
  // One that is late is taken in; a step is counted once however often it is read.
  await tell("b:1", hour + 8 * stepMs, { calls: [4, 0, 0], clusters: {} });
  time.now += 2000;
  assert.deepEqual(
    (await histories.of("fleet", "hour")).points.map(({ calls }) => calls[0]),
    [1, 4],
  );
});

test("steps go as time goes on, and others come in their places", async (t) => {
  const { time, read, histories, tell } = world(hour + 60_000);
  t.after(() => read.close());
  await tell("a:1", hour, {
    calls: [7, 0, 0],
    clusters: { [blue]: { calls: [7, 0, 0], refusals: { overloaded: 1 } } },
  });
  assert.equal((await histories.of(`cluster/${blue}`, "hour")).points.length, 1);
  time.now = hour + 4000 * 1000 + 60_000;
  await tell("a:1", hour + 4000 * 1000, { calls: [1, 0, 0], clusters: { [blue]: { calls: [1, 0, 0], refusals: {} } } });
  const { points } = await histories.of(`cluster/${blue}`, "hour");
  assert.deepEqual(
    points.map(({ at, calls, refusals }) => [at, calls[0], refusals]),
    [[hour + 4000 * 1000, 1, {}]],
  );
});

test("a line of a cluster has a number for two minutes of which something is known, and says where nothing is", async (t) => {
  const { read, tell } = world(hour + hourMs);
  t.after(() => read.close());
  await tell("a:1", hour + hourMs - stepMs, {
    clusters: { [blue]: { calls: [1, 1, 1], refusals: { overloaded: 1 } } },
  });
  await tell("a:1", hour + hourMs - 12 * stepMs);
  await tell("a:1", hour + hourMs - 13 * stepMs, { clusters: {} });
  const view = await read.read();
  const calls = view.calls(blue, 30, 12);
  assert.deepEqual([calls.length, calls.slice(-3)], [30, [undefined, 0, 4]]);
  assert.deepEqual(view.calls(red, 30, 12).slice(-3), [undefined, 0, 0]);
  assert.equal(view.refused(blue), 1);
});

test("Redis that is away, or a key that is not known, is said; without Redis that is said as well", async (t) => {
  const { server, keys, read, histories } = world(hour);
  t.after(() => read.close());
  keys.own = undefined;
  assert.match((await histories.of("fleet", "hour")).incomplete, /the integrity key is not known yet/);
  keys.own = secret;
  server.isAway = true;
  for (const period of ["hour", "month"] as const) {
    const { points, incomplete } = await histories.of("fleet", period);
    assert.deepEqual(points, []);
    assert.match(incomplete, /cannot be read: Redis is away/);
  }
  assert.match((await noHistories.of("fleet", "hour")).incomplete, /fleet\.yaml names no Redis/);
  assert.equal((await noHistories.hour()).view, undefined);
});

test("an hour that is over is added to the months, once, by whichever replica comes first", async (t) => {
  const { time, redis, read, histories, tell } = world(hour + hourMs + 30_000);
  t.after(() => read.close());
  const record = { uid: blue, name: "blue" } as ClusterRecord;
  const sightings = { nodes: () => Promise.resolve({ nodes: new Map(), incomplete: [] }) };
  const options = {
    redis,
    secret: () => secret,
    hour: read,
    sightings,
    records: () => Promise.resolve([record]),
    log: silentLog,
  };
  const keepers = [1, 2].map(() => createKeeper({ ...options, now: () => time.now }));
  t.after(() => keepers.forEach((keeper) => keeper.close()));
  for (let at = hour + 100 * stepMs; at < hour + hourMs + 2 * stepMs; at += stepMs)
    await tell("a:1", at, { eventLoop: 0.5 });
  await tell("a:1", hour + 200 * stepMs, { eventLoop: 0.9, calls: [1, 5, 0] });
  const look = async (): Promise<void> => void (await Promise.all(keepers.map((keeper) => keeper.look())));
  await look();
  assert.deepEqual(await readMonth(redis, secret, "fleet", time.now), [], "a gateway may be late");
  time.now += 60_000;
  await look();
  const [fleet, ...others] = await readMonth(redis, secret, "fleet", time.now);
  assert.deepEqual(others, []);
  assert.deepEqual(fleet, { at: hour, knownMs: 260 * stepMs, gateways: 1, calls: [260, 5, 0], refusals: {} });
  const [gateway] = await readMonth(redis, secret, "gateway/a:1", time.now);
  assert.equal(gateway?.eventLoop, 0.9, "of what is no count, the most");
  assert.equal((await readMonth(redis, secret, `cluster/${blue}`, time.now))[0]?.calls[0], 260);
  // What is not over yet is told as far as it goes.
  const month = await histories.of("fleet", "month");
  assert.deepEqual(
    month.points.map(({ at, knownMs }) => [at, knownMs]),
    [
      [hour, 260 * stepMs],
      [hour + hourMs, 2 * stepMs],
    ],
  );
  const added = await redis.get("month:fleet");
  time.now += 121_000;
  await look();
  assert.equal(await redis.get("month:fleet"), added, "it is not added again");
});

test("nodes that were seen lately are counted every five minutes, where all of them are known", async (t) => {
  const { time, redis, read, histories, tell } = world(hour + 300_000);
  t.after(() => read.close());
  const at = (ms: number) => ({ at: ms }) as never;
  const state = { incomplete: [] as { kind: "young"; text: string }[] };
  const sightings = {
    nodes: () =>
      Promise.resolve({
        nodes: new Map([[blue, [at(time.now - 1000), at(time.now - 170_000), at(time.now - 200_000)]]]),
        incomplete: state.incomplete,
      }),
  };
  const records = () => Promise.resolve([{ uid: blue } as ClusterRecord]);
  const keeper = createKeeper({
    redis,
    secret: () => secret,
    hour: read,
    sightings,
    records,
    log: silentLog,
    now: () => time.now,
  });
  t.after(() => keeper.close());
  await keeper.look();
  await keeper.look();
  await tell("a:1", hour + 310_000);
  time.now = hour + 330_000;
  const { points } = await histories.of(`cluster/${blue}`, "hour");
  assert.deepEqual(
    points.map(({ at: begin, nodes, knownMs }) => [begin - hour, nodes, knownMs]),
    [
      [300_000, 2, 0],
      [310_000, undefined, stepMs],
    ],
    "who is known and who has told are two things",
  );
  state.incomplete = [{ kind: "young", text: "Redis was emptied" }];
  time.now += 300_000;
  await keeper.look();
  assert.equal(Object.keys(await redis.all(`history:${nodesSeries}`)).length, 1, "what is not all is not counted");
});
