// The contract of the RedisStore port, for real servers and for the fake of the unit tests.
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { RedisStore } from "@claviger/gateway-core/src/redis/client.ts";

/** One server, empty at first. Every store that was opened is closed by `stop` at the latest. */
export type RedisWorld = {
  /** Another client of the same server. */
  open(): RedisStore;
  /** Ends the server, and with it what it holds; `comeBack` starts it anew. */
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
  stop(): Promise<void>;
};

const longMs = 60_000;

async function until(what: string, probe: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 10_000; !(await probe()); await sleep(5))
    assert.ok(performance.now() < end, `${what}: not within 10 s`);
}

/** Resolves with what is heard until `last` is. A subscription takes a moment, so `store` says "ready" until then. */
async function hear(
  listener: RedisStore,
  store: RedisStore,
  channel: string,
): Promise<{ readonly untilHeard: (last: string) => Promise<readonly string[]> }> {
  const heard: string[] = [];
  listener.subscribe(channel, (message) => void heard.push(message));
  await until(`a subscription to ${channel}`, async () => {
    await store.publish(channel, "ready").catch(() => {});
    return heard.length > 0;
  });
  return {
    async untilHeard(last) {
      await until(`${last} on ${channel}`, () => heard.includes(last));
      return heard.filter((message) => message !== "ready");
    },
  };
}

/**
 * The contract of the RedisStore port.
 * @param start makes a server for the suite alone
 */
export function redisContract(name: string, start: () => Promise<RedisWorld>): void {
  suite(`${name} keeps the contract of a Redis`, () => {
    let world: RedisWorld;
    let store: RedisStore;
    let other: RedisStore;
    before(async () => {
      world = await start();
      [store, other] = [world.open(), world.open()];
      await Promise.all([store, other].map((one) => one.connected(AbortSignal.timeout(10_000))));
    });
    after(async () => {
      for (const one of [store, other]) one.close();
      await world.stop();
    });

    test("a time may be a fraction of milliseconds, or next to nothing", async () => {
      await store.set("fraction", "x", longMs + 0.5);
      await store.put("fraction:hash", "field", "x", longMs + 1 / 3);
      assert.equal(await store.tryAcquire("fraction:lease", longMs * 1.1), true);
      assert.equal(await other.get("fraction"), "x");
      assert.deepEqual(await other.all("fraction:hash"), { field: "x" });
      await store.set("nothing", "x", 0.2);
      await until("it to be gone", async () => (await other.get("nothing")) === null);
      assert.equal(store.health(), "ok");
    });

    test("a value is there for every client, is replaced as a whole, and is gone after its time", async () => {
      assert.equal(await other.get("value"), null);
      await store.set("value", "first", longMs);
      assert.equal(await other.get("value"), "first");
      await other.set("value", "ü\u0000\n", 100);
      assert.equal(await store.get("value"), "ü\u0000\n");
      await until("the end of the value", async () => (await store.get("value")) === null);
    });

    test("fields of a hash are put one by one; all of it lives on with each, and is gone after its time", async () => {
      assert.deepEqual({ ...(await store.all("hash")) }, {});
      await store.put("hash", "a", "1", 100);
      await other.put("hash", "b", "2", longMs);
      await store.put("hash", "a", "3", longMs);
      await sleep(120);
      assert.deepEqual({ ...(await other.all("hash")) }, { a: "3", b: "2" });
      await store.put("hash", "b", "4", 50);
      await until("the end of the hash", async () => Object.keys(await other.all("hash")).length === 0);
    });

    test("several fields are put at once and removed by name, and the rest stays as it was", async () => {
      await store.put("fields", "a", "1", longMs);
      await store.putAll("fields", { b: "2", c: "3", a: "4" }, longMs);
      assert.deepEqual({ ...(await other.all("fields")) }, { a: "4", b: "2", c: "3" });
      assert.deepEqual(await other.some("fields", ["c", "nobody", "a"]), ["3", null, "4"]);
      assert.deepEqual(await other.some("no fields", ["a"]), [null]);
      await other.remove("fields", ["a", "c", "nobody"]);
      assert.deepEqual({ ...(await store.all("fields")) }, { b: "2" });
      await store.remove("fields", ["b"]);
      await store.remove("fields", ["b"]);
      assert.deepEqual({ ...(await store.all("fields")) }, {});
      await store.putAll("fields", { d: "5" }, 50);
      await until("the end of the fields", async () => Object.keys(await other.all("fields")).length === 0);
    });

    test("of several who try one acquires, and the next one when its time is over", async () => {
      const tries = await Promise.all([store, other, store, other].map((one) => one.tryAcquire("lease", 200)));
      assert.equal(tries.filter(Boolean).length, 1);
      const since = performance.now();
      await until("the end of the lease", () => other.tryAcquire("lease", longMs));
      assert.ok(performance.now() - since > 50, "it was held until then");
      assert.equal(await store.tryAcquire("lease", longMs), false);
      await store.set("taken", "by a value", longMs);
      assert.equal(await other.tryAcquire("taken", longMs), false);
      assert.equal(await store.tryAcquire("valued", longMs, "a word"), true);
      assert.equal(await other.tryAcquire("valued", longMs, "another"), false);
      assert.equal(await other.get("valued"), "a word");
      await store.put("taken-too", "by", "a hash", longMs);
      assert.equal(await other.tryAcquire("taken-too", longMs), false);
    });

    test("messages reach every client that listens, the sender too, in order and on their channel alone", async () => {
      const listeners = await Promise.all([store, other].map((one) => hear(one, store, "news")));
      await hear(other, store, "other news");
      await store.publish("other news", "elsewhere");
      for (const message of ["1", "2", "3"]) await store.publish("news", message);
      for (const { untilHeard } of listeners) assert.deepEqual(await untilHeard("3"), ["1", "2", "3"]);
      await store.publish("nobody listens", "1");
    });

    test("a server that is away rejects every call at once and says so; back again it serves, with nothing lost but values", async () => {
      const { untilHeard } = await hear(other, store, "hints");
      assert.equal(store.health(), "ok");
      await world.goAway();
      await until("the store to notice", () => store.health() !== "ok");
      const began = performance.now();
      for (const call of [
        () => store.get("value"),
        () => store.set("value", "lost", longMs),
        () => store.put("hash", "a", "lost", longMs),
        () => store.putAll("hash", { a: "lost" }, longMs),
        () => store.remove("hash", ["a"]),
        () => store.all("hash"),
        () => store.some("hash", ["a"]),
        () => store.tryAcquire("lease", longMs),
        () => store.publish("hints", "lost"),
      ])
        await assert.rejects(call, Error);
      assert.ok(performance.now() - began < 1000, "nothing waits for it");
      await assert.rejects(store.connected(AbortSignal.timeout(50)), Error);
      await world.comeBack();
      await Promise.all([store, other].map((one) => one.connected(AbortSignal.timeout(10_000))));
      assert.equal(store.health(), "ok");
      assert.equal(await store.get("value"), null);
      assert.equal(await store.tryAcquire("lease", longMs), true);
      // Whoever listened goes on to do so, without another word.
      await until("the subscription to be back", async () => {
        await store.publish("hints", "again");
        return await Promise.race([untilHeard("again").then(() => true), sleep(50, false)]);
      });
      assert.ok(!(await untilHeard("again")).includes("lost"));
    });

    test("a store that is closed rejects and hears nothing more, and may be closed again", async () => {
      const own = world.open();
      await own.connected(AbortSignal.timeout(10_000));
      const heard: string[] = [];
      own.subscribe("last", (message) => void heard.push(message));
      await until("a subscription", async () => {
        await store.publish("last", "ready");
        return heard.length > 0;
      });
      own.close();
      own.close();
      await assert.rejects(own.get("value"), Error);
      const { untilHeard } = await hear(other, store, "last");
      heard.length = 0;
      await store.publish("last", "after the end");
      await untilHeard("after the end");
      assert.deepEqual(heard, []);
    });
  });
}
