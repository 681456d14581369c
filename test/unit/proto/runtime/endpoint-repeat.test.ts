// Rounds of a pool: what is begun again, when, how often, and at whose cost.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createEndpointPool } from "@claviger/proto/runtime/endpoint-pool.ts";
import { KmsError, type Reason, toKmsError } from "@claviger/proto/wire/errors.ts";
import { createManualClock } from "./manual-clock.ts";

type Attempt = (endpoint: string) => Promise<string>;
const fails =
  (reason: Reason): Attempt =>
  () =>
    Promise.reject(new KmsError(reason));

function setUp(endpoints: readonly string[], attempt: Attempt) {
  const clock = createManualClock();
  const asked: string[] = [];
  const pool = createEndpointPool<string>({
    endpoints,
    nameOf: (name) => name,
    choice: "ordered",
    probe: () => new Promise(() => {}),
    isFault: ({ reason }) => reason !== "cluster_suspended",
    clock,
  });
  const run = async ({ leftMs = 10_000, repeat = true } = {}): Promise<string> => {
    const result = pool
      .run({
        attempt: (endpoint) => {
          asked.push(`${endpoint} ${clock.now()}`);
          return attempt(endpoint);
        },
        leftMs,
        repeat,
        hedge: false,
        signal: new AbortController().signal,
        discard: () => {},
      })
      .catch((error: unknown) => toKmsError(error).reason);
    await clock.pass(leftMs);
    return await result;
  };
  return { clock, asked, pool, run };
}

suite("A call that every endpoint has failed", () => {
  test("begins again after 50 ms while more than that is left, and only where it may", async () => {
    for (const [leftMs, times] of [
      [101, [0, 50, 100]],
      [100, [0, 50]],
      [50, [0]],
    ] as const) {
      const { asked, run } = setUp(["a"], fails("backend_unavailable"));
      assert.equal(await run({ leftMs }), "backend_unavailable");
      assert.deepEqual(
        asked,
        times.map((time) => `a ${time}`),
      );
    }
    const { asked, run } = setUp(["a"], fails("backend_unavailable"));
    assert.equal(await run({ repeat: false }), "backend_unavailable");
    assert.deepEqual(asked, ["a 0"]);
  });

  test("takes repetitions out of a budget: twenty at first, and one more with every tenth call", async () => {
    const { asked, run } = setUp(["a"], fails("backend_unavailable"));
    // More than twenty are not saved up.
    for (let i = 0; i < 30; i += 1) await run({ repeat: false });
    asked.length = 0;
    assert.equal(await run(), "backend_unavailable");
    assert.equal(asked.length, 21);
    asked.length = 0;
    for (let i = 0; i < 9; i += 1) await run();
    assert.equal(asked.length, 9);
    for (let i = 0; i < 2; i += 1) await run();
    assert.equal(asked.length, 12);
  });

  test("is served by the round that finds one well", async () => {
    let left = 3;
    const { asked, run } = setUp(["a", "b"], (endpoint) =>
      (left -= 1) < 0 ? Promise.resolve(endpoint) : fails("backend_unavailable")(endpoint),
    );
    assert.match(await run(), /^[ab]$/);
    assert.equal(asked.length, 4);
  });
});

test("A decision of an endpoint is not asked for again", async () => {
  const { asked, run } = setUp(["a", "b"], fails("cluster_suspended"));
  assert.equal(await run(), "cluster_suspended");
  assert.deepEqual(asked, ["a 0"]);
});

test("A call whose list was replaced under it goes on with the new one at once, also where it may not begin again", async () => {
  let fail = (_error: KmsError): void => {};
  const { clock, asked, pool, run } = setUp(["a"], (endpoint) =>
    endpoint === "a" ? new Promise((_, reject) => (fail = reject)) : Promise.resolve(endpoint),
  );
  const running = run({ repeat: false });
  clock.setTimeout(() => {
    pool.replace(["b"]);
    fail(new KmsError("backend_unavailable"));
  }, 20);
  assert.equal(await running, "b");
  assert.deepEqual(asked, ["a 0", "b 20"]);
});

suite("Ends that all have too much to do", () => {
  function setUpFull() {
    const states: Record<string, Reason | "well"> = { a: "overloaded", b: "overloaded", c: "overloaded" };
    const clock = createManualClock();
    let asked = 0;
    const pool = createEndpointPool<string>({
      endpoints: Object.keys(states),
      nameOf: (name) => name,
      choice: "ordered",
      probe: () => new Promise(() => {}),
      isFault: () => true,
      isBusy: () => true,
      isFull: ({ reason }) => reason === "overloaded",
      clock,
    });
    const run = (): Promise<string> =>
      pool
        .run({
          attempt: (endpoint) => {
            asked += 1;
            const state = states[endpoint] ?? "well";
            return state === "well" ? Promise.resolve(endpoint) : Promise.reject(new KmsError(state));
          },
          leftMs: 1000,
          repeat: false,
          hedge: false,
          signal: new AbortController().signal,
          discard: () => {},
        })
        .catch((error: unknown) => toKmsError(error).reason);
    /** How often so many calls asked. */
    const askedBy = async (calls: number): Promise<number> => {
      asked = 0;
      for (let i = 0; i < calls; i += 1) assert.equal(await run(), "overloaded");
      return asked;
    };
    return { states, clock, run, askedBy };
  }

  test("are asked once for each call, and the others of them out of the budget: no storm as many times as great", async () => {
    const { askedBy } = setUpFull();
    // The first call learns that all of them are full; then twenty are free, and one with every tenth call.
    assert.equal(await askedBy(1), 3);
    const asked = await askedBy(100);
    assert.ok(asked >= 100 + 20 && asked <= 100 + 30, `${asked} for 100 calls`);
    assert.ok((await askedBy(100)) <= 111);
  });

  test("do not keep a call from one that has not said so, has failed otherwise, or is past its moment", async () => {
    const { states, clock, run, askedBy } = setUpFull();
    await askedBy(60);
    await clock.pass(5001);
    states["c"] = "well";
    assert.equal(await run(), "c");
    for (const name of ["a", "b", "c"]) states[name] = "backend_unavailable";
    await clock.pass(60_000);
    assert.equal(await run(), "backend_unavailable");
    states["c"] = "well";
    assert.equal(await run(), "c", "busy for another reason: the next one is free");
  });
});
