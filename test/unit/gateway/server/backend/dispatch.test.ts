import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createDispatcher } from "@claviger/gateway-server/src/backend/dispatch.ts";
import type { Backend, Outcome, UnwrapItem, Unwrapped } from "@claviger/gateway-core/src/backend/port.ts";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import { KmsError, toKmsError } from "@claviger/proto/wire/errors.ts";
import { clusterName, keyName } from "@claviger/proto/wire/names.ts";
import { createFakeBackend, ref } from "../../fakes.ts";

const a = clusterName.parse("a");
const b = clusterName.parse("b");
const never = new AbortController().signal;
function item(n: number): UnwrapItem {
  return { ciphertext: Buffer.from(`item ${n}`), associatedData: Buffer.alloc(0), version: 1 };
}
/** Two turns of the event loop: in the first what waits is sent. */
function tick(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}

/** A backend whose calls wait to be answered by the test. */
function createSlowBackend() {
  type Held = {
    readonly items: readonly string[];
    readonly signal: AbortSignal;
    answer(outcomeOf?: (text: string) => Outcome<Unwrapped>): Promise<void>;
    fail(error: KmsError): Promise<void>;
  };
  const held: Held[] = [];
  const unwrap: Backend["unwrap"] = (_key, items, signal) =>
    new Promise((resolve, reject) => {
      const texts = items.map(({ ciphertext }) => Buffer.from(ciphertext).toString());
      held.push({
        items: texts,
        signal,
        async answer(outcomeOf = (text) => ({ ok: true, value: { plaintext: Buffer.from(text) } })) {
          resolve(texts.map(outcomeOf));
          await tick();
        },
        async fail(error) {
          reject(error);
          await tick();
        },
      });
    });
  return { backend: { ...createFakeBackend(), unwrap }, held };
}

function setUp(bounds: { maxInFlightPerKey?: number; maxBatch?: number; maxQueuedPerCluster?: number } = {}) {
  const { backend, held } = createSlowBackend();
  const dispatcher = createDispatcher({ backend, ...bounds });
  const ask = (n: number, cluster = a, signal = never): Promise<string> =>
    dispatcher.unwrap(cluster, ref, item(n), signal).then(
      ({ plaintext }) => Buffer.from(plaintext).toString(),
      (error: unknown) => toKmsError(error).reason,
    );
  return { held, ask };
}

suite("the dispatcher", () => {
  test("sends the first request in the same turn, and all that come while it is under way together", async () => {
    const { held, ask } = setUp();
    const first = ask(1);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(
      held.map(({ items }) => items),
      [["item 1"]],
    );
    const asked = [first, ...[2, 3, 4].map((n) => ask(n))];
    await tick();
    assert.equal(held.length, 1);
    await held[0]?.answer();
    assert.deepEqual(held[1]?.items, ["item 2", "item 3", "item 4"]);
    await held[1]?.answer();
    assert.deepEqual(await Promise.all(asked), ["item 1", "item 2", "item 3", "item 4"]);
  });

  test("sends together what arrives in one turn of the event loop", async () => {
    const { held, ask } = setUp();
    const asked = [1, 2, 3].map((n) => ask(n));
    await tick();
    assert.deepEqual(held[0]?.items, ["item 1", "item 2", "item 3"]);
    await held[0]?.answer();
    await Promise.all(asked);
  });

  test("starts another call beside one only for a full batch, up to the limit", async () => {
    const { held, ask } = setUp({ maxBatch: 2, maxInFlightPerKey: 3 });
    const first = ask(0);
    await tick();
    const asked = [first, ...Array.from({ length: 8 }, (_, n) => ask(n + 1))];
    await tick();
    assert.deepEqual(
      held.map(({ items }) => items.length),
      [1, 2, 2],
    );
    for (let i = 0; i < 5; i++) await held[i]?.answer();
    assert.deepEqual(
      held.map(({ items }) => items.length),
      [1, 2, 2, 2, 2],
    );
    assert.deepEqual(
      await Promise.all(asked),
      Array.from({ length: 9 }, (_, n) => `item ${n}`),
    );
  });

  test("does not send an item whose caller waits for less time than calls took lately", async () => {
    const { backend, held } = createSlowBackend();
    const calls: number[] = [];
    const times = { add: (ms: number) => void calls.push(ms), longestMs: () => 60, shortestMs: () => 0 };
    const dispatcher = createDispatcher({ backend, times });
    const ask = (n: number, answerBy?: number): Promise<string> =>
      dispatcher.unwrap(a, ref, item(n), never, answerBy).then(
        ({ plaintext }) => Buffer.from(plaintext).toString(),
        (error: unknown) => toKmsError(error).reason,
      );
    const asked = [ask(1, steadyNow() + 5000), ask(2, steadyNow() + 40), ask(3)];
    await tick();
    assert.deepEqual(
      held.map(({ items }) => items),
      [["item 1", "item 3"]],
    );
    assert.equal(await asked[1], "deadline_exceeded");
    assert.equal(calls.length, 0);
    await held[0]?.answer();
    assert.deepEqual(await Promise.all(asked), ["item 1", "deadline_exceeded", "item 3"]);
    assert.equal(calls.length, 1, "the answer is timed");
    const failed = ask(4);
    await tick();
    await held[1]?.fail(new KmsError("backend_unavailable"));
    assert.equal(await failed, "backend_unavailable");
    assert.equal(calls.length, 1, "a failure says nothing of how long an answer takes");
  });

  test("has so many calls of all keys under way; others wait, gather, take turns, and leave unsent", async () => {
    const { backend, held } = createSlowBackend();
    const dispatcher = createDispatcher({ backend, maxInFlight: 2 });
    const gone = new AbortController();
    const ask = (n: number, key: string, signal = never): Promise<string> =>
      dispatcher.unwrap(a, { ...ref, key: keyName.parse(key) }, item(n), signal).then(
        ({ plaintext }) => Buffer.from(plaintext).toString(),
        (error: unknown) => toKmsError(error).reason,
      );
    const asked = [ask(1, "k1"), ask(2, "k2"), ask(3, "k3"), ask(4, "k4", gone.signal), ask(5, "k5")];
    await tick();
    const sent = (): readonly (readonly string[])[] => held.map(({ items }) => items);
    assert.deepEqual(sent(), [["item 1"], ["item 2"]]);
    asked.push(ask(6, "k1"), ask(7, "k3"));
    gone.abort(new KmsError("deadline_exceeded"));
    await tick();
    await held[0]?.answer();
    assert.deepEqual(sent().slice(2), [["item 3", "item 7"]]);
    // The turn of k4, of which nobody waits any more, is the next one's.
    await held[1]?.answer();
    assert.deepEqual(sent().slice(3), [["item 5"]]);
    await held[2]?.answer();
    await held[3]?.answer();
    assert.deepEqual(sent().slice(4), [["item 6"]]);
    await held[4]?.answer();
    assert.deepEqual(await Promise.all(asked), [
      "item 1",
      "item 2",
      "item 3",
      "deadline_exceeded",
      "item 5",
      "item 6",
      "item 7",
    ]);
  });

  test("a call that hangs does not hold the others", async () => {
    const { held, ask } = setUp();
    const first = ask(1);
    await tick();
    const second = ask(2);
    while (held.length < 2) await tick();
    await held[1]?.answer();
    assert.equal(await second, "item 2");
    await held[0]?.answer();
    await first;
  });

  test("serves clusters in turn: one cluster's storm does not fill the batch before its neighbour is in it", async () => {
    const { held, ask } = setUp({ maxBatch: 4, maxInFlightPerKey: 1 });
    const asked = [...Array.from({ length: 20 }, (_, n) => ask(n)), ask(100, b)];
    await tick();
    await held[0]?.answer();
    assert.ok([...(held[0]?.items ?? []), ...(held[1]?.items ?? [])].includes("item 100"));
    for (let i = 1; i < held.length; i++) await held[i]?.answer();
    await Promise.all(asked);
  });

  test("bounds each cluster's queue, and counts only those who still wait", async () => {
    const { held, ask } = setUp({ maxQueuedPerCluster: 2 });
    const gone = new AbortController();
    const first = ask(1);
    await tick();
    const asked = [first, ask(2, a, gone.signal), ask(3)];
    assert.equal(await ask(4), "overloaded");
    gone.abort(new KmsError("canceled"));
    asked.push(ask(5), ask(6, b));
    await held[0]?.answer();
    assert.deepEqual(held[1]?.items.toSorted(), ["item 3", "item 5", "item 6"]);
    await held[1]?.answer();
    assert.deepEqual(await Promise.all(asked), ["item 1", "canceled", "item 3", "item 5", "item 6"]);
  });

  test("one item's failure is its own; a failed call is everybody's", async () => {
    const { held, ask } = setUp();
    const first = ask(0);
    await tick();
    const asked = [1, 2].map((n) => ask(n));
    await held[0]?.fail(new KmsError("backend_sealed"));
    assert.equal(await first, "backend_sealed");
    await held[1]?.answer((text) =>
      text === "item 1"
        ? { ok: false, error: new KmsError("ciphertext_invalid") }
        : { ok: true, value: { plaintext: Buffer.from(text) } },
    );
    assert.deepEqual(await Promise.all(asked), ["ciphertext_invalid", "item 2"]);
  });

  test("a call ends when all its callers have left, and not before; what comes late is zeroized", async () => {
    const { held, ask } = setUp();
    const gone = [new AbortController(), new AbortController()];
    const first = ask(0);
    await tick();
    const asked = gone.map(({ signal }, n) => ask(n, a, signal));
    await held[0]?.answer();
    await first;
    gone[0]?.abort(new KmsError("deadline_exceeded"));
    assert.equal(await asked[0], "deadline_exceeded");
    assert.equal(held[1]?.signal.aborted, false);
    gone[1]?.abort();
    assert.equal(await asked[1], "canceled");
    assert.equal(held[1]?.signal.aborted, true);
    const late = Buffer.from("secret");
    await held[1]?.answer(() => ({ ok: true, value: { plaintext: late } }));
    assert.ok(late.every((byte) => byte === 0));
  });

  test("a call whose items are all of one request ends with that request", async () => {
    const { held, ask } = setUp();
    const gone = new AbortController();
    void ask(0);
    await tick();
    const asked = [1, 2, 3].map((n) => ask(n, a, gone.signal));
    await held[0]?.answer();
    assert.equal(held[1]?.items.length, 3);
    gone.abort();
    assert.deepEqual(await Promise.all(asked), ["canceled", "canceled", "canceled"]);
    assert.equal(held[1].signal.aborted, true);
  });

  test("a caller whose time is over is not sent", async () => {
    const { held, ask } = setUp();
    assert.equal(await ask(1, a, AbortSignal.abort(new KmsError("deadline_exceeded"))), "deadline_exceeded");
    assert.equal(held.length, 0);
  });
});
