import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createFailover } from "@claviger/gateway-core/src/backend/vault/failover.ts";
import { KmsError, type Reason, toKmsError } from "@claviger/proto/wire/errors.ts";

type State = Reason | "well" | "silent";

function setUp(states: Record<string, State>) {
  const asked: string[] = [];
  const changes: string[] = [];
  const late: string[] = [];
  const act = async (node: string, signal: AbortSignal): Promise<string> => {
    const state = states[node] ?? "well";
    if (state === "silent")
      await new Promise((_, reject) =>
        signal.addEventListener("abort", () => reject(new Error("aborted")), { once: true }),
      );
    else if (state !== "well") throw new KmsError(state);
    return node;
  };
  const failover = createFailover({
    nodes: Object.keys(states),
    probe: async (node, signal) => void (await act(node, signal)),
    onChange: (node, failure) => void changes.push(`${node} ${failure === undefined ? "up" : "down"}`),
  });
  const run = (signal: AbortSignal = new AbortController().signal, isRepeatable = true): Promise<string> =>
    failover
      .run({
        run: (node, own) => {
          asked.push(node);
          return act(node, own);
        },
        isRepeatable,
        isUntouched: ({ reason }) => reason === "backend_sealed",
        discard: (node) => void late.push(node),
        signal,
      })
      .catch((error: unknown) => toKmsError(error).reason);
  return { states, asked, changes, run, failover };
}

suite("failover", () => {
  test("goes on to the next address, and asks the failed one last until it is well again", async () => {
    const { states, asked, changes, run, failover } = setUp({ a: "backend_unavailable", b: "well" });
    assert.equal(await run(), "b");
    assert.equal(await run(), "b");
    assert.deepEqual(asked, ["a", "b", "b"]);
    states["a"] = "well";
    while (changes.length < 2) await sleep(10);
    assert.equal(await run(), "a");
    assert.deepEqual(changes, ["a down", "a up"]);
    failover.close();
  });

  test("with none left gives the most telling failure", async () => {
    const { run, failover } = setUp({ a: "backend_unavailable", b: "backend_sealed", c: "backend_rate_limited" });
    assert.equal(await run(), "backend_sealed");
    assert.equal(await run(), "backend_sealed");
    failover.close();
  });

  test("does not wait for a silent address alone", async () => {
    const { run, failover } = setUp({ a: "silent", b: "well" });
    const started = performance.now();
    assert.equal(await run(), "b");
    assert.ok(performance.now() - started < 900);
    assert.equal(await run(), "b");
    assert.ok(performance.now() - started < 950);
    failover.close();
  });

  test("sends what must not happen twice on only when the first surely did nothing", async () => {
    const { asked, run, failover } = setUp({ a: "backend_unavailable", b: "well" });
    assert.equal(await run(undefined, false), "backend_unavailable");
    assert.deepEqual(asked, ["a"]);
    failover.close();
    const sealed = setUp({ a: "backend_sealed", b: "well" });
    assert.equal(await sealed.run(undefined, false), "b");
    sealed.failover.close();
  });

  test("ends with the caller's signal, and does not start after it", async () => {
    const { asked, run, failover } = setUp({ a: "silent" });
    assert.equal(await run(AbortSignal.timeout(20)), "deadline_exceeded");
    assert.equal(await run(AbortSignal.abort(new KmsError("canceled"))), "canceled");
    assert.deepEqual(asked, ["a"]);
    failover.close();
  });
});
