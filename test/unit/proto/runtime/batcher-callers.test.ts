// Callers of a batcher that come, leave and share: whose result it is, and when a key is done with.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createBatcher } from "@claviger/proto/runtime/batcher.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { never, resultOf, turn } from "./batch-results.ts";
import { createHeldBatcher as setUp } from "./held-batcher.ts";

suite("Callers of a batcher", () => {
  test("who asked the same end no call for each other, and the last one who leaves ends it", async (t) => {
    const { calls, at, ask } = setUp(t);
    const gone = Array.from({ length: 3 }, () => new AbortController());
    const asked = gone.map(({ signal }) => ask("same", { identity: "i", signal }));
    await turn();
    gone[0]?.abort();
    gone[1]?.abort();
    assert.deepEqual(await Promise.all(asked.slice(0, 2)), ["canceled", "canceled"]);
    assert.equal(at(0).signal.aborted, false);
    gone[2]?.abort();
    assert.equal(await asked[2], "canceled");
    assert.equal(at(0).signal.aborted, true);
    // Nobody joins what has been given up.
    const anew = ask("same", { identity: "i" });
    await turn();
    assert.equal(calls.length, 2);
    at(1).answer();
    assert.equal(await anew, "same");
  });

  test("take the result itself where it is like no other, and a copy where others may ask the same", async (t) => {
    const { at, batcher } = setUp(t);
    const asked = [{}, { identity: "i" }].map((change) =>
      batcher.run("k", { item: "a", group: "g", signal: never, ...change }),
    );
    await turn();
    const [own, shared] = at(0).answer();
    const [first, second] = await Promise.all(asked);
    assert.equal(first, own);
    assert.notEqual(second, shared);
  });

  test("of a call of two get what is theirs when one of the two is at fault", async (t) => {
    const { ask } = setUp(t, {
      isItemFault: () => true,
      send: (_key, items) =>
        items.includes("bad")
          ? Promise.reject(new KmsError("request_too_large"))
          : Promise.resolve(items.map((text) => ({ ok: true, value: resultOf(text) }))),
    });
    assert.deepEqual(await Promise.all([ask("good"), ask("bad")]), ["good", "request_too_large"]);
  });

  test("wait as long for a call that is made late as for the first one", async (t) => {
    const { at, ask, pass } = setUp(t, { maxCallMs: 100 });
    pass(1000);
    const asked = ask("a");
    await turn();
    pass(100);
    assert.equal(at(0).signal.aborted, true);
    assert.equal(await asked, "deadline_exceeded");
  });

  test("find their key as busy as it is when a result has been kept for its time", async (t) => {
    const { calls, at, ask, pass } = setUp(t, { resultTtlMs: 50, slowCallMs: 1000 });
    const kept = ask("kept", { identity: "i" });
    await turn();
    at(0).answer();
    await kept;
    await turn();
    const asked = [ask("under way")];
    await turn();
    pass(50);
    asked.push(ask("next"));
    await turn();
    assert.equal(calls.length, 2);
    at(1).answer();
    await turn();
    at(2).answer();
    assert.deepEqual(await Promise.all(asked), ["under way", "next"]);
  });

  test("find a key anew once the last result has been kept for its time", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const sent: number[] = [];
    const batcher = createBatcher<number, string, string>({
      keyId: () => "one",
      send: (key, items) => {
        sent.push(key);
        return Promise.resolve(items.map((value) => ({ ok: true, value })));
      },
      discard: () => {},
    });
    const ask = async (key: number, item: string) => {
      await batcher.run(key, { item, group: "g", identity: item, signal: never });
      await turn();
    };
    await ask(1, "a");
    await ask(2, "b");
    t.mock.timers.tick(50);
    await ask(3, "c");
    assert.deepEqual(sent, [1, 1, 3]);
  });
});
