import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ApiError } from "@claviger/console/src/api/failure.ts";
import type { FleetEvent } from "@claviger/console/src/api/json.ts";
import { createLive } from "@claviger/console/src/data/live.ts";
import { createResource } from "@claviger/console/src/data/resource.ts";

/** Surroundings in which a wait ends when a test says so. */
function surroundings() {
  const waits: { readonly ms: number; readonly end: () => void }[] = [];
  return {
    waits,
    now: () => 1000,
    wait: (ms: number, signal: AbortSignal) =>
      new Promise<void>((resolve) => {
        waits.push({ ms, end: resolve });
        signal.addEventListener("abort", () => resolve());
      }),
  };
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

suite("what a page reads again and again", () => {
  test("it is read while it is followed, and not after", async () => {
    const around = surroundings();
    let reads = 0;
    const resource = createResource({ load: () => Promise.resolve((reads += 1)), everyMs: () => 5000 }, around);
    const stop = resource.follow();
    const stopOther = resource.follow();
    await turn();
    assert.deepEqual(resource.state.value, { value: 1, at: 1000, failure: undefined });
    assert.equal(around.waits[0]?.ms, 5000);
    stop();
    around.waits[0]?.end();
    await turn();
    assert.equal(reads, 2);
    stopOther();
    stopOther();
    await turn();
    assert.equal(reads, 2);
  });

  test("whoever wants it more often gets it more often, from now on", async () => {
    const around = surroundings();
    let reads = 0;
    const resource = createResource({ load: () => Promise.resolve((reads += 1)), everyMs: () => 5000 }, around);
    const stop = resource.follow();
    await turn();
    const stopOther = resource.follow(1000);
    await turn();
    assert.equal(reads, 2);
    assert.deepEqual(
      around.waits.map(({ ms }) => ms),
      [5000, 1000],
    );
    stopOther();
    around.waits[1]?.end();
    await turn();
    assert.equal(around.waits[2]?.ms, 5000);
    stop();
  });

  test("what was read last stays when the next reading fails, and the failure is told", async () => {
    const answers = [() => Promise.resolve("well"), () => Promise.reject(new ApiError("unavailable", "later"))];
    const around = surroundings();
    let at = 1000;
    const resource = createResource(
      { load: () => (answers.shift() ?? assert.fail())(), everyMs: () => 1 },
      { ...around, now: () => (at += 1000) },
    );
    await resource.refresh();
    const read = resource.state.value.at;
    await resource.refresh();
    const { value, failure } = resource.state.value;
    assert.deepEqual([value, failure?.code, resource.state.value.at], ["well", "unavailable", read]);
  });

  test("a refresh in the middle of a reading reads once more, and once", async () => {
    const pending: (() => void)[] = [];
    let reads = 0;
    const load = (): Promise<number> =>
      new Promise((resolve) => {
        reads += 1;
        pending.push(() => resolve(reads));
      });
    const resource = createResource({ load, everyMs: () => 1 }, surroundings());
    const all = [resource.refresh(), resource.refresh(), resource.refresh()];
    pending.shift()?.();
    await turn();
    assert.equal(reads, 2);
    pending.shift()?.();
    await Promise.all(all);
    assert.equal(reads, 2);
  });

  test("a part is shown where nothing was, and does not take the place of a whole", async () => {
    const seen: unknown[] = [];
    const resource = createResource<string>(
      {
        load: (publish) => {
          publish("part");
          seen.push(resource.state.value.value);
          return Promise.resolve("whole");
        },
        everyMs: () => 1,
      },
      surroundings(),
    );
    await resource.refresh();
    await resource.refresh();
    assert.deepEqual(seen, ["part", "whole"]);
  });

  test("an event that concerns it is heard where it is followed, and list-again always is", async () => {
    let reads = 0;
    const around = surroundings();
    const concerns = ({ cluster }: FleetEvent): boolean => cluster === "prod";
    const resource = createResource({ load: () => Promise.resolve((reads += 1)), everyMs: () => 1, concerns }, around);
    resource.hear({ kind: "list-again" });
    await turn();
    assert.equal(reads, 0);
    const stop = resource.follow();
    await turn();
    for (const event of [{ cluster: "other" }, { cluster: "prod" }, { kind: "list-again" }]) {
      resource.hear(event);
      await turn();
    }
    assert.equal(reads, 3);
    stop();
  });
});

suite("the stream of events", () => {
  test("a page says that it is live, then that it polls, and goes on where it was", async () => {
    const around = surroundings();
    const cursors: string[] = [];
    const heard: unknown[] = [];
    const stop = new AbortController();
    async function* watch(cursor: string): AsyncGenerator<FleetEvent> {
      cursors.push(cursor);
      if (cursors.length === 2) throw new ApiError("offline", "no answer");
      yield { kind: "heartbeat", cursor: "1" };
      yield { kind: "cluster-changed", cursor: "2" };
      await turn();
    }
    const live = createLive({ api: { watch }, onEvent: ({ kind }) => heard.push(kind), ...around });
    assert.equal(live.state.value.kind, "starting");
    const run = live.run(stop.signal);
    const states: unknown[] = [];
    live.state.subscribe(({ kind }) => states.push(kind));
    while (around.waits.length === 0) await turn();
    around.waits[0]?.end();
    while (around.waits.length < 2) await turn();
    assert.deepEqual(heard, ["cluster-changed"]);
    assert.deepEqual(cursors, ["", "2"]);
    const { state } = live;
    assert.equal(state.value.kind === "polling" && state.value.failure?.code, "offline");
    assert.deepEqual([...new Set(states)], ["starting", "live", "polling"]);
    stop.abort();
    await run;
  });

  test("waits grow while it cannot be had, to half a minute", async () => {
    const around = surroundings();
    const stop = new AbortController();
    // oxlint-disable-next-line require-yield -- a stream that fails before its first message
    async function* watch(): AsyncGenerator<FleetEvent> {
      await turn();
      throw new ApiError("offline", "no answer");
    }
    const run = createLive({ api: { watch }, onEvent: () => {}, ...around }).run(stop.signal);
    for (let i = 0; i < 9; i += 1) {
      while (around.waits.length <= i) await turn();
      around.waits[i]?.end();
    }
    const waits = around.waits.map(({ ms }) => ms);
    assert.deepEqual(waits.slice(0, 4), [500, 1000, 2000, 4000]);
    assert.equal(Math.max(...waits), 30_000);
    stop.abort();
    await run;
  });
});
