// In which order endpoints are asked, and what becomes of what is known when the list is another one.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { turn } from "./batch-results.ts";
import { createSteeredHealth as setUp, down, second } from "./steered-health.ts";

suite("The quickest endpoint", () => {
  test("is the first one where that is chosen, and their order is that of the list where not", (t) => {
    for (const [choice, first] of [
      ["fastest", "bca"],
      ["ordered", "abc"],
    ] as const) {
      const { health, of, order } = setUp(t, "abc", { choice });
      for (const [name, ms] of [
        ["a", 30],
        ["b", 10],
        ["c", 20],
      ] as const)
        health.answered(of(name), ms);
      assert.equal(order(), first);
    }
  });

  test("is known by a usual time that a single answer changes by a fifth", (t) => {
    const { health, of, stateOf } = setUp(t, "a");
    health.answered(of("a"), 100);
    assert.equal(stateOf("a")?.latencyMs, 100);
    health.answered(of("a"), 200);
    assert.equal(stateOf("a")?.latencyMs, 120);
  });

  test("may be one that was slow once: what is known fades by half in 20 seconds", async (t) => {
    const { clock, health, of, order } = setUp(t, "ab", { choice: "fastest" });
    await clock.pass(1000);
    health.answered(of("a"), 100);
    health.answered(of("b"), 40);
    await clock.pass(20 * second);
    health.answered(of("b"), 40);
    assert.equal(order(), "ba");
    await clock.pass(20 * second);
    health.answered(of("b"), 40);
    assert.equal(order(), "ab");
  });

  test("is taken to be one that nobody has asked, unless another is below five milliseconds", (t) => {
    for (const [ms, first] of [
      [4, "ab"],
      [6, "ba"],
    ] as const) {
      const { health, of, order } = setUp(t, "ab", { choice: "fastest" });
      health.answered(of("a"), ms);
      assert.equal(order(), first);
    }
  });

  test("is not always asked: chance makes each up to half quicker or slower than it is", (t) => {
    const orderOf = (chances: readonly number[], ms: number): string => {
      let at = 0;
      const { health, of, order } = setUp(t, "ab", { choice: "fastest" }, () => chances[at++ % 2] ?? 0);
      health.answered(of("a"), 10);
      health.answered(of("b"), ms);
      at = 0;
      return order();
    };
    assert.equal(orderOf([1, 0], 29), "ba");
    assert.equal(orderOf([1, 0], 31), "ab");
  });
});

suite("A list that is replaced", () => {
  test("keeps what is known by name, takes the new address, and probes at once what is in doubt", async (t) => {
    const { clock, bad, silent, probes, aborted, health, of, stateOf } = setUp(t, "abc");
    bad.add("a");
    silent.add("b");
    health.answered(of("c"), 30);
    health.failed(of("a"), down);
    health.late(of("b"), 300);
    await clock.pass(1001);
    probes.length = 0;
    health.replace(["A", "B", "C", "d"]);
    await turn();
    assert.deepEqual([probes, aborted], [["A 1001", "B 1001"], ["b"]]);
    assert.deepEqual([stateOf("A")?.isUp, stateOf("C")?.latencyMs, stateOf("d")?.latencyMs], [true, 30, undefined]);
    await clock.pass(60 * second);
    assert.deepEqual(probes, ["A 1001", "B 1001"]);
  });

  test("is probed as a whole where it is kept warm", async (t) => {
    const { clock, probes, health } = setUp(t, "ab", { warm: true });
    await clock.pass(10);
    health.replace(["b", "c"]);
    await turn();
    assert.deepEqual(probes, ["a 0", "b 0", "b 10", "c 10"]);
  });

  test("ends what is known of the ones that are gone: no probe, no change", async (t) => {
    const { clock, bad, probes, changes, health, of } = setUp(t, "abc");
    bad.add("a");
    const [gone, late, other] = [of("a"), of("b"), of("c")];
    health.failed(gone, down);
    health.late(late, 300);
    health.replace(["d"]);
    assert.equal(health.entries().length, 1);
    health.failed(other, down);
    health.answered(gone, 5);
    await clock.pass(60 * second);
    assert.deepEqual([probes, changes], [[], ["a backend_unavailable 0"]]);
  });

  test("leaves no timer of the ones that are gone, whatever their probes come to", async (t) => {
    const { clock, silent, health, of } = setUp(t, "a");
    health.failed(of("a"), down);
    health.replace(["b"]);
    assert.equal(clock.waiting(), 0);
    silent.add("b");
    health.failed(of("b"), down);
    await clock.pass(100);
    health.replace(["c"]);
    await clock.pass(5 * second);
    assert.equal(clock.waiting(), 0);
  });

  test("while a probe is under way counts the new one alone", async (t) => {
    const { clock, silent, probes, changes, health } = setUp(t, "a", { warm: true });
    silent.add("a");
    health.replace(["a"]);
    await clock.pass(4 * second);
    silent.delete("a");
    health.replace(["a"]);
    await clock.pass(60 * second);
    assert.deepEqual(probes, ["a 0", "a 0", "a 4000"]);
    assert.deepEqual(changes, []);
  });

  test("while one is awaited probes it at once, and does not await it further", async (t) => {
    const { clock, silent, probes, health, of, order } = setUp(t, "ab");
    health.late(of("a"), 300);
    silent.add("a");
    await clock.pass(500);
    health.replace(["a", "b"]);
    await turn();
    // An answer does not make a probe needless that is under way.
    health.answered(of("a"), 5);
    assert.equal(order(), "ba");
    await clock.pass(second);
    assert.deepEqual(probes, ["a 500"]);
  });
});

test("After the end nothing is probed and nobody is told", async (t) => {
  const { clock, bad, probes, changes, health, of } = setUp(t, "abc");
  bad.add("a");
  health.failed(of("a"), down);
  health.late(of("b"), 300);
  health.close();
  assert.equal(clock.waiting(), 1, "the wait of the one that is late");
  health.failed(of("c"), down);
  health.answered(of("a"), 5);
  await clock.pass(60 * second);
  assert.deepEqual([probes, changes], [[], ["a backend_unavailable 0"]]);
});
