// What is known of endpoints, and when they are probed, under a clock of the test's own.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createEndpointHealth } from "@claviger/proto/runtime/endpoint-health.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { createManualClock } from "./manual-clock.ts";
import { createSteeredHealth as setUp, down, second } from "./steered-health.ts";

const busy = new KmsError("overloaded");

suite("An endpoint that fails", () => {
  test("is down from then on, for the first reason, until a probe has found it well", async (t) => {
    const { clock, probes, changes, health, of, stateOf, order } = setUp(t, "ab");
    await clock.pass(7);
    health.failed(of("a"), down);
    health.failed(of("a"), new KmsError("backend_sealed"));
    assert.deepEqual(stateOf("a"), {
      endpoint: "a",
      isUp: false,
      failure: down,
      busy: undefined,
      since: 7,
      latencyMs: undefined,
    });
    assert.equal(order(), "ba");
    await clock.pass(99);
    assert.deepEqual(probes, []);
    await clock.pass(1);
    assert.deepEqual([probes, changes], [["a 107"], ["a backend_unavailable 7", "a up 107"]]);
    assert.deepEqual([stateOf("a")?.isUp, stateOf("a")?.since, order()], [true, 107, "ab"]);
    assert.equal(clock.waiting(), 0);
  });

  test("is probed ever more rarely: every five seconds where no other is up, every thirty where one is", async (t) => {
    for (const [names, longest] of [
      ["a", 5],
      ["ab", 30],
    ] as const) {
      const { clock, bad, probes, health, of } = setUp(t, names);
      bad.add("a");
      health.failed(of("a"), down);
      await clock.pass(200 * second);
      const times = probes.map((probe) => Number(probe.slice(2)));
      assert.deepEqual(times.slice(0, 5), [100, 300, 700, 1500, 3100]);
      assert.equal((times.at(-1) ?? 0) - (times.at(-2) ?? 0), longest * second);
    }
  });

  test("is not one that is up beside itself or beside others that are down", async (t) => {
    const { clock, bad, probes, health, of } = setUp(t, "ab");
    for (const name of ["a", "b"]) {
      bad.add(name);
      health.failed(of(name), down);
    }
    await clock.pass(200 * second);
    const times = probes.filter((probe) => probe.startsWith("a")).map((probe) => Number(probe.slice(2)));
    assert.equal((times.at(-1) ?? 0) - (times.at(-2) ?? 0), 5 * second);
  });

  test("is probed when it said, a minute later at most, and not earlier than its pause", async (t) => {
    for (const [retryAfterMs, at] of [
      [5000, 5000],
      [3_600_000, 60_000],
      [1, 100],
      [undefined, 100],
    ] as const) {
      const { clock, probes, health, of } = setUp(t, "a");
      health.failed(of("a"), new KmsError("backend_sealed", retryAfterMs === undefined ? {} : { retryAfterMs }));
      await clock.pass(100 * second);
      assert.deepEqual(probes, [`a ${at}`]);
    }
  });

  test("again just after a probe has found it well is probed later than the first time", async (t) => {
    const { clock, probes, health, of } = setUp(t, "a");
    for (let i = 0; i < 3; i += 1) {
      health.failed(of("a"), down);
      await clock.pass(10 * second);
    }
    assert.deepEqual(probes, ["a 100", "a 10200", "a 20400"]);
    // An answer is more than a probe.
    health.answered(of("a"), 5);
    health.failed(of("a"), down);
    await clock.pass(100);
    assert.equal(probes.at(-1), "a 30100");
  });

  test("and answers a call is up at once, without a probe", async (t) => {
    const { clock, probes, changes, health, of } = setUp(t, "a");
    health.failed(of("a"), down);
    await clock.pass(50);
    health.answered(of("a"), 5);
    assert.deepEqual(changes, ["a backend_unavailable 0", "a up 50"]);
    assert.equal(clock.waiting(), 0);
    await clock.pass(10 * second);
    assert.deepEqual(probes, []);
  });

  test("is probed by each replica in a moment of its own, a quarter earlier or later", async (t) => {
    for (const [random, at] of [
      [0, 75],
      [1, 125],
    ] as const) {
      const { clock, probes, health, of } = setUp(t, "a", {}, () => random);
      health.failed(of("a"), down);
      await clock.pass(second);
      assert.deepEqual(probes, [`a ${at}`]);
    }
  });

  test("is never busy where nobody says what that is", (t) => {
    t.mock.method(Math, "random", () => 0.5);
    const clock = createManualClock();
    const probe = () => Promise.resolve();
    const health = createEndpointHealth({ endpoints: ["a"], nameOf: String, choice: "ordered", probe, clock });
    const [entry] = health.entries();
    assert.ok(entry !== undefined);
    health.failed(entry, busy);
    assert.deepEqual([health.states()[0]?.isUp, health.isBusy(entry)], [false, false]);
  });
});

suite("A probe", () => {
  test("that is not answered within five seconds is the failure of one that was up", async (t) => {
    const { clock, silent, aborted, changes, health, stateOf } = setUp(t, "a", { warm: true });
    assert.deepEqual(health.order().length, 1);
    await clock.pass(second);
    assert.deepEqual([changes, aborted, clock.waiting()], [[], [], 0]);
    silent.add("a");
    health.replace(["a"]);
    await clock.pass(5 * second - 1);
    assert.deepEqual(changes, []);
    await clock.pass(1);
    assert.deepEqual([changes, aborted], [["a deadline_exceeded 6000"], ["a"]]);
    assert.match(String(stateOf("a")?.failure?.cause), /no answer within 5 s/);
  });

  test("at the beginning holds its endpoint behind the others until it has ended, whatever a call says", async (t) => {
    const warm = setUp(t, "ab", {
      warm: true,
      probe: (name) => (name === "a" ? new Promise(() => {}) : Promise.resolve()),
    });
    await warm.clock.pass(10);
    warm.health.answered(warm.of("a"), 5);
    assert.equal(warm.order(), "ba");
    // The same for one that was late before, and is down since.
    const { clock, silent, health, of, order } = setUp(t, "ab");
    silent.add("a");
    health.late(of("a"), 300);
    health.answered(of("a"), 5);
    health.failed(of("a"), down);
    await clock.pass(100);
    health.answered(of("a"), 5);
    assert.equal(order(), "ba");
  });

  test("holds its endpoint behind the others, and before those that are down", async (t) => {
    const { clock, silent, health, of, order } = setUp(t, "abc");
    silent.add("a").add("b");
    health.failed(of("a"), down);
    health.late(of("b"), 300);
    assert.equal(order(), "cba");
    await clock.pass(2 * second);
    assert.equal(order(), "cba");
  });
});

suite("An endpoint that is late", () => {
  test("is probed a second later, once, where it has not answered by then", async (t) => {
    const { clock, probes, health, of, stateOf } = setUp(t, "a");
    health.late(of("a"), 300);
    await clock.pass(500);
    health.late(of("a"), 200);
    await clock.pass(499);
    assert.deepEqual(probes, []);
    await clock.pass(second);
    assert.deepEqual(probes, ["a 1000"]);
    assert.equal(stateOf("a")?.latencyMs, 300);
  });

  test("and answers within the second is not probed, and may be late again", async (t) => {
    const { clock, probes, health, of, order } = setUp(t, "ab");
    health.late(of("a"), 300);
    assert.equal(order(), "ba");
    await clock.pass(900);
    health.answered(of("a"), 1200);
    assert.equal(order(), "ab");
    await clock.pass(second);
    assert.deepEqual(probes, []);
    health.late(of("a"), 300);
    await clock.pass(second);
    assert.deepEqual(probes, ["a 2900"]);
  });

  test("is probed once for the later of two times that it was late, with an answer between them", async (t) => {
    const { clock, probes, health, of } = setUp(t, "a");
    health.late(of("a"), 300);
    await clock.pass(500);
    health.answered(of("a"), 10);
    health.late(of("a"), 300);
    await clock.pass(900);
    assert.deepEqual(probes, []);
    await clock.pass(100);
    assert.deepEqual(probes, ["a 1500"]);
  });

  test("while its probe is under way is behind until the probe has ended, whatever it answers", async (t) => {
    const { clock, silent, health, of, order } = setUp(t, "ab");
    silent.add("a");
    health.late(of("a"), 300);
    await clock.pass(second);
    health.answered(of("a"), 10);
    assert.equal(order(), "ba");
  });

  test("waits for its probe a quarter more or less than a second", async (t) => {
    for (const [random, at] of [
      [0, 750],
      [1, 1250],
    ] as const) {
      const { clock, probes, health, of } = setUp(t, "a", {}, () => random);
      health.late(of("a"), 300);
      await clock.pass(10 * second);
      assert.deepEqual(probes, [`a ${at}`]);
    }
  });

  test("and down is probed as what it is, and no more often", async (t) => {
    const { clock, probes, health, of } = setUp(t, "a");
    health.failed(of("a"), new KmsError("backend_unavailable", { retryAfterMs: 3000 }));
    health.late(of("a"), 300);
    await clock.pass(4 * second);
    assert.deepEqual(probes, ["a 3000"]);
  });

  test("without ever having answered has taken as long as it was waited for", (t) => {
    const { health, of, stateOf } = setUp(t, "a");
    health.late(of("a"), 0.5);
    assert.equal(stateOf("a")?.latencyMs, 0.5);
  });
});

suite("An endpoint that is busy", () => {
  test("is asked after the others for as long as it says, a minute at most", async (t) => {
    for (const [retryAfterMs, ms] of [
      [2000, 2000],
      [3_600_000, 60_000],
    ] as const) {
      const { clock, health, of, stateOf, order, changes } = setUp(t, "ab");
      const error = new KmsError("overloaded", { retryAfterMs });
      health.failed(of("a"), error);
      await clock.pass(ms - 1);
      assert.deepEqual([order(), stateOf("a")?.busy, stateOf("a")?.isUp], ["ba", error, true]);
      await clock.pass(1);
      assert.deepEqual([order(), stateOf("a")?.busy, health.isBusy(of("a")), changes], ["ab", undefined, false, []]);
    }
  });

  test("without saying how long is asked again after pauses that double, up to five seconds", async (t) => {
    const { clock, health, of } = setUp(t, "a");
    for (const ms of [100, 200, 400, 800, 1600, 3200, 5000, 5000]) {
      health.failed(of("a"), busy);
      await clock.pass(ms - 1);
      assert.ok(health.isBusy(of("a")), `${ms} ms`);
      await clock.pass(1);
      assert.ok(!health.isBusy(of("a")), `${ms} ms`);
    }
    health.failed(of("a"), busy);
    health.answered(of("a"), 5);
    assert.ok(!health.isBusy(of("a")));
    health.failed(of("a"), busy);
    await clock.pass(100);
    assert.ok(!health.isBusy(of("a")));
  });

  test("is so from the beginning of time on only when it says so", (t) => {
    const { health, of, order } = setUp(t, "ab");
    assert.deepEqual([health.isBusy(of("a")), order()], [false, "ab"]);
    health.answered(of("a"), 1);
    assert.equal(health.isBusy(of("a")), false);
  });

  test("comes before one that is down", (t) => {
    const { health, of, order } = setUp(t, "abc");
    health.failed(of("a"), down);
    health.failed(of("b"), busy);
    assert.equal(order(), "cba");
  });
});
