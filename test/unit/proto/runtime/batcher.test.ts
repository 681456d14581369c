import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createBatcher } from "@claviger/proto/runtime/batcher.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { never, resultOf, turn } from "./batch-results.ts";
import { createHeldBatcher as setUp } from "./held-batcher.ts";

suite("The batcher", () => {
  test("keeps keys apart: a call under way for one delays no other", async (t) => {
    const { calls, at, ask } = setUp(t);
    const asked = [ask("a"), ask("b", {}, "other")];
    await turn();
    assert.deepEqual(calls.map(({ key, items }) => `${key}: ${items.join()}`).toSorted(), ["k: a", "other: b"]);
    at(0).answer();
    at(1).answer();
    assert.deepEqual(await Promise.all(asked), ["a", "b"]);
  });

  test("starts a call beside a slow one after the slow-call timer, and not before", async (t) => {
    const { calls, at, ask, pass } = setUp(t, { slowCallMs: 50 });
    const asked = [ask("slow")];
    await turn();
    asked.push(ask("next"));
    await turn();
    pass(49);
    await turn();
    assert.equal(calls.length, 1);
    pass(1);
    await turn();
    assert.equal(calls.length, 2);
    at(1).answer();
    at(0).answer();
    assert.deepEqual(await Promise.all(asked), ["slow", "next"]);
  });

  test("bounds a group's queue by bytes as by items, and not another group's", async (t) => {
    const { at, ask } = setUp(t, { maxQueuedBytes: 10, maxQueued: 3 });
    const first = ask("first");
    await turn();
    const gone = new AbortController();
    const asked = [first, ask("six", { bytes: 6, signal: gone.signal }), ask("four", { bytes: 4 })];
    assert.equal(await ask("one", { bytes: 1 }), "overloaded");
    asked.push(ask("elsewhere", { bytes: 9, group: "h" }));
    gone.abort();
    asked.push(ask("five", { bytes: 5 }), ask("none", { bytes: 0 }));
    assert.equal(await ask("fourth"), "overloaded");
    at(0).answer();
    await turn();
    at(1).answer();
    assert.deepEqual(await Promise.all(asked), ["first", "canceled", "four", "elsewhere", "five", "none"]);
  });

  test("fills a batch to its bytes, and sends an item alone that is larger than that", async (t) => {
    const { calls, at, ask } = setUp(t, { maxBatchBytes: 10, minParallelBatch: 99 });
    const asked = [
      ["a", 6],
      ["b", 4],
      ["c", 11],
      ["d", 1],
    ].map(([item, bytes]) => ask(String(item), { bytes: Number(bytes) }));
    for (let i = 0; i < 3; i += 1) {
      await turn();
      at(i).answer();
    }
    await Promise.all(asked);
    assert.deepEqual(
      calls.map(({ items }) => items),
      [["a", "b"], ["c"], ["d"]],
    );
  });

  test("does not send an item whose time is over, and ends its caller on time", async (t) => {
    const { calls, at, ask, pass } = setUp(t, { slowCallMs: 1000 });
    const asked = [ask("first")];
    await turn();
    asked.push(ask("late", { deadline: Date.now() + 20 }), ask("patient", { deadline: Date.now() + 500 }));
    pass(20);
    assert.equal(await asked[1], "deadline_exceeded");
    at(0).answer();
    await turn();
    assert.deepEqual(at(1).items, ["patient"]);
    assert.equal(at(1).deadline, Date.now() + 480);
    at(1).answer();
    assert.equal(await asked[2], "patient");
    assert.equal(await ask("over", { deadline: Date.now() }), "deadline_exceeded");
    assert.equal(calls.length, 2);
  });

  test("does not send an item whose time is over though its timer is late, as on a busy machine", async (t) => {
    let time = 0;
    const { calls, at, ask } = setUp(t, { now: () => time });
    const asked = [ask("late", { deadline: 20 }), ask("patient", { deadline: 500 })];
    time = 30;
    await turn();
    assert.equal(await asked[0], "deadline_exceeded");
    assert.deepEqual(at(0).items, ["patient"]);
    at(0).answer();
    assert.equal(await asked[1], "patient");
    assert.equal(calls.length, 1);
  });

  test("does not send an item that would not be answered in time, and leaves its end to its caller until then", async (t) => {
    let time = 0;
    let answerMs = 40;
    const { calls, at, ask } = setUp(t, { now: () => time, answerMs: () => answerMs });
    const asked = [ask("first", { answerBy: 41 })];
    await turn();
    assert.deepEqual(at(0).items, ["first"]);
    asked.push(ask("hopeless", { answerBy: 70 }), ask("in time", { answerBy: 71 }), ask("no hurry"));
    time = 30;
    at(0).answer();
    await turn();
    assert.deepEqual(at(1).items, ["in time", "no hurry"]);
    assert.equal(await asked[1], "deadline_exceeded");
    answerMs = 10;
    asked.push(ask("hopeful again", { answerBy: 70 }));
    at(1).answer();
    await turn();
    at(2).answer();
    assert.deepEqual(await Promise.all(asked), ["first", "deadline_exceeded", "in time", "no hurry", "hopeful again"]);
    assert.equal(calls.length, 3);
  });

  test("reads on in a storm while turns are short, and not for longer than it may where they are long", async (t) => {
    const turnsUntilSent = async (turnMs: number): Promise<number> => {
      let time = 0;
      const { calls, at, ask } = setUp(t, { now: () => time, stormBatch: 2, maxReadTurns: 16, maxReadMs: 20 });
      const asked = [ask("a"), ask("b"), ask("c")];
      await turn();
      asked.push(ask("waits"));
      await turn();
      at(0).answer();
      // The end of the call is seen some promises later.
      for (let i = 0; i < 50; i += 1) await Promise.resolve();
      let turns = 0;
      for (; calls.length === 1; turns += 1) {
        asked.push(ask(`more ${turns}`));
        time += turnMs;
        await new Promise((resolve) => setImmediate(resolve));
      }
      at(1).answer();
      for (let i = 0; i < 40 && calls.length === 2; i += 1) await turn();
      calls.at(-1)?.answer();
      t.mock.timers.reset();
      return turns;
    };
    assert.equal(await turnsUntilSent(1), 17);
    assert.ok((await turnsUntilSent(30)) <= 2);
  });

  test("does not send for a caller who has left before, and tells one whose time is over so, in a full queue too", async (t) => {
    const { calls, at, ask } = setUp(t, { maxQueued: 1 });
    assert.equal(await ask("left", { signal: AbortSignal.abort(new KmsError("canceled")) }), "canceled");
    const asked = [ask("first")];
    await turn();
    asked.push(ask("second"));
    assert.equal(await ask("third", { deadline: Date.now() + 1 }), "overloaded");
    assert.equal(await ask("over", { deadline: Date.now() }), "deadline_exceeded");
    at(0).answer();
    await turn();
    at(1).answer();
    assert.deepEqual(await Promise.all(asked), ["first", "second"]);
    assert.equal(calls.length, 2);
  });

  test("starts a call beside another one for a full batch, when not told for how many", async (t) => {
    const { calls, at, ask } = setUp(t);
    const asked = [ask("first")];
    await turn();
    for (let i = 0; i < 127; i += 1) asked.push(ask(`item ${i}`));
    for (let i = 0; i < 20; i += 1) await turn();
    assert.equal(calls.length, 1);
    asked.push(ask("the last one"));
    for (let i = 0; i < 20; i += 1) await turn();
    assert.deepEqual(
      calls.map(({ items }) => items.length),
      [1, 128],
    );
    at(0).answer();
    at(1).answer();
    await Promise.all(asked);
  });

  test("sends no halves of a call that failed, when not told that an item may be at fault", async (t) => {
    const { calls, at, ask } = setUp(t);
    const asked = [ask("a"), ask("b")];
    await turn();
    at(0).reject(new KmsError("backend_sealed"));
    assert.deepEqual(await Promise.all(asked), ["backend_sealed", "backend_sealed"]);
    await turn();
    assert.equal(calls.length, 1);
  });

  test("forgets a key for which nothing waits or is under way, and none for which something is", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const sent: string[] = [];
    const ends: (() => void)[] = [];
    const batcher = createBatcher<{ readonly id: string; readonly made: number }, string, string>({
      keyId: ({ id }) => id,
      send: async ({ made }, items) => {
        sent.push(`${items.join()} with ${made}`);
        await new Promise<void>((resolve) => void ends.push(resolve));
        return items.map((value) => ({ ok: true, value }));
      },
      discard: () => {},
    });
    let made = 0;
    const ask = (item: string) => batcher.run({ id: "k", made: (made += 1) }, { item, group: "g", signal: never });
    const first = ask("a");
    await turn();
    const second = ask("b");
    await turn();
    ends[0]?.();
    await first;
    await turn();
    ends[1]?.();
    await second;
    await turn();
    const third = ask("c");
    await turn();
    // The timer that would have sent b beside a finds that nothing is left of theirs.
    t.mock.timers.tick(50);
    const fourth = ask("d");
    await turn();
    assert.deepEqual(sent, ["a with 1", "b with 1", "c with 3"]);
    ends[2]?.();
    await third;
    await turn();
    ends[3]?.();
    await fourth;
    assert.equal(sent[3], "d with 3");
  });

  test("discards the result of a caller who left a call that goes on for others", async (t) => {
    const { at, ask } = setUp(t);
    const gone = new AbortController();
    const asked = [ask("left", { signal: gone.signal }), ask("stays")];
    await turn();
    gone.abort();
    const results = at(0).answer();
    assert.deepEqual(await Promise.all(asked), ["canceled", "stays"]);
    assert.deepEqual(
      results.map(({ isDiscarded }) => isDiscarded),
      [true, false],
    );
  });

  test("aborts a call when its last caller has left, discards what comes then, and goes on", async (t) => {
    const { at, ask } = setUp(t);
    const gone = [new AbortController(), new AbortController()];
    const asked = gone.map(({ signal }, n) => ask(`item ${n}`, { signal }));
    await turn();
    gone[0]?.abort();
    assert.equal(await asked[0], "canceled");
    assert.equal(at(0).signal.aborted, false);
    gone[1]?.abort();
    assert.equal(at(0).signal.aborted, true);
    const late = at(0).answer();
    await turn();
    assert.ok(late.every(({ isDiscarded }) => isDiscarded));
    const next = ask("next");
    await turn();
    at(1).answer();
    assert.equal(await next, "next");
  });

  test("ends a call that never ends at its own limit, and what it brings later is discarded", async (t) => {
    const { at, ask, pass } = setUp(t, { maxCallMs: 100 });
    const asked = ask("a");
    await turn();
    pass(100);
    assert.equal(await asked, "deadline_exceeded");
    assert.equal(at(0).signal.aborted, true);
    const late = at(0).answer();
    await turn();
    assert.ok(late[0]?.isDiscarded);
  });

  test("fewer outcomes fail the items without one, more are discarded", async (t) => {
    const { at, ask } = setUp(t);
    const asked = [ask("a"), ask("b")];
    await turn();
    at(0).resolve([{ ok: true, value: resultOf("a") }]);
    assert.deepEqual(await Promise.all(asked), ["a", "backend_protocol_error"]);
    const alone = ask("c");
    await turn();
    const extra = resultOf("extra");
    at(1).resolve([
      { ok: true, value: resultOf("c") },
      { ok: true, value: extra },
    ]);
    assert.equal(await alone, "c");
    assert.ok(extra.isDiscarded);
  });

  test("a send that throws fails its items and nothing else", async (t) => {
    let isBroken = true;
    const { ask } = setUp(t, {
      send: (_key, items) => {
        if (isBroken) throw new KmsError("backend_sealed");
        return Promise.resolve(items.map((text) => ({ ok: true, value: resultOf(text) })));
      },
    });
    assert.equal(await ask("a"), "backend_sealed");
    isBroken = false;
    assert.equal(await ask("b"), "b");
  });

  test("a call that fails for one of its items fails that one alone", async (t) => {
    const sent: (readonly string[])[] = [];
    const { ask } = setUp(t, {
      isItemFault: ({ reason }) => reason === "request_too_large",
      send: (_key, items) => {
        sent.push(items);
        if (items.includes("large")) return Promise.reject(new KmsError("request_too_large"));
        return Promise.resolve(items.map((text) => ({ ok: true, value: resultOf(text) })));
      },
    });
    const asked = ["a", "b", "large", "c", "d"].map((item) => ask(item));
    assert.deepEqual(await Promise.all(asked), ["a", "b", "request_too_large", "c", "d"]);
    assert.equal(sent[0]?.length, 5);
    assert.ok(sent.length <= 7, `${sent.length} calls`);
  });

  test("identical items are one, each caller gets a copy, and a result is discarded after its TTL", async (t) => {
    const { calls, at, ask, batcher, pass } = setUp(t, { resultTtlMs: 50 });
    const request = { item: "same", group: "g", identity: "i", signal: never };
    const asked = [batcher.run("k", request), batcher.run("k", request)];
    await turn();
    const [result] = at(0).answer();
    const [one, two] = await Promise.all(asked);
    assert.ok(one !== two && one !== result && two !== result);
    assert.equal(await ask("same", { identity: "i" }), "same");
    assert.equal(calls.length, 1);
    assert.equal(result?.isDiscarded, false);
    pass(50);
    assert.equal(result.isDiscarded, true);
    assert.deepEqual([one?.isDiscarded, two?.isDiscarded], [false, false]);
    const next = ask("same", { identity: "i" });
    await turn();
    assert.equal(calls.length, 2);
    at(1).answer();
    await next;
  });

  for (const reason of ["canceled", "gateway_unavailable", "deadline_exceeded"] as const)
    test(`who joined a call that ends as ${reason} with its first caller's time goes again`, async (t) => {
      const { calls, at, ask, pass } = setUp(t);
      const hurried = ask("same", { identity: "i", deadline: Date.now() + 200 });
      await turn();
      const patient = ask("same", { identity: "i", deadline: Date.now() + 2000 });
      const tight = ask("same", { identity: "i", deadline: Date.now() + 210 });
      pass(190);
      at(0).reject(new KmsError(reason));
      await turn();
      assert.deepEqual([await hurried, await tight], [reason, reason]);
      assert.deepEqual(at(1).items, ["same"]);
      at(1).answer();
      assert.equal(await patient, "same");
      assert.equal(calls.length, 2);
    });

  test("who joined a call that has not ended when its first caller's time ends goes again", async (t) => {
    const { at, ask, pass } = setUp(t);
    const hurried = ask("same", { identity: "i", deadline: Date.now() + 200 });
    await turn();
    const patient = ask("same", { identity: "i", deadline: Date.now() + 2000 });
    pass(200);
    assert.equal(await hurried, "deadline_exceeded");
    await turn();
    at(1).answer();
    assert.equal(await patient, "same");
  });

  test("a call that fails while its first caller has time left fails all who joined", async (t) => {
    const { calls, at, ask } = setUp(t);
    const asked = [ask("same", { identity: "i", deadline: Date.now() + 200 })];
    await turn();
    asked.push(ask("same", { identity: "i", deadline: Date.now() + 2000 }));
    at(0).reject(new KmsError("gateway_unavailable"));
    assert.deepEqual(await Promise.all(asked), ["gateway_unavailable", "gateway_unavailable"]);
    assert.equal(calls.length, 1);
  });
});
