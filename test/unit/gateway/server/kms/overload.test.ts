// The limit of calls, under a clock that the test moves.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createOverload, type Place, type ShedCause } from "@claviger/gateway-server/src/kms/overload.ts";
import { KmsError, rowOf, toKmsError } from "@claviger/proto/wire/errors.ts";
import { createManualClock } from "../../../proto/runtime/manual-clock.ts";

const never = new AbortController().signal;

function start(backend = { longestMs: 0, shortestMs: 0 }) {
  const clock = createManualClock();
  const shed: ShedCause[] = [];
  const overload = createOverload({
    clock,
    backend: { longestMs: () => backend.longestMs, shortestMs: () => backend.shortestMs },
    onShed: (cause) => void shed.push(cause),
  });
  const enter = (cluster = "a", leftMs = 3000, signal = never): Promise<Place> =>
    overload.enter({ cluster, leftMs, signal });
  const fill = async (count: number, cluster = "a"): Promise<readonly Place[]> =>
    await Promise.all(Array.from({ length: count }, () => enter(cluster)));
  /** So many looks at calls that took so long. */
  const serve = async (looks: number, tookMs: number): Promise<void> => {
    for (let i = 0; i < looks; i += 1) {
      const place = await enter("served");
      place.leave(tookMs);
      await clock.pass(200);
    }
    // The look itself comes with the next call.
    (await enter("served")).leave();
  };
  const outcome = (entering: Promise<Place>): Promise<string> =>
    entering.then(
      () => "in",
      (error: unknown) => toKmsError(error).reason,
    );
  return { clock, overload, enter, fill, serve, outcome, shed };
}

suite("the limit of calls", () => {
  test("is none while calls are served in time, however many come at once", async () => {
    const { overload, fill, serve, shed } = start();
    await fill(5000);
    await serve(20, 149);
    assert.equal(overload.limit(), undefined);
    assert.deepEqual(shed, []);
  });

  test("comes after a second of slow calls, at what is under way, and not after a slow moment", async () => {
    const { overload, fill, serve, enter, outcome, clock, shed } = start();
    await fill(300);
    await serve(4, 900);
    await serve(1, 10);
    await serve(4, 900);
    assert.equal(overload.limit(), undefined);
    await serve(1, 900);
    // With the call by which the last look was taken.
    assert.equal(overload.limit(), 301);
    await enter();
    const refused = outcome(enter());
    await clock.pass(1000);
    assert.equal(await refused, "overloaded");
    assert.equal(rowOf("overloaded").retryable, true);
    assert.deepEqual(shed, ["limit"]);
  });

  test("costs nobody a refusal while what has gathered is worked off", async () => {
    const { fill, serve, enter, clock, shed, overload } = start();
    const gathered = [...(await fill(1000))];
    await serve(5, 1500);
    assert.equal(overload.limit(), 1001);
    // Slow for three more seconds, and fewer with each look: a moment that has passed, and no overload.
    for (let look = 0; look < 15; look += 1) {
      for (const place of gathered.splice(0, 60)) place.leave(1500);
      for (let i = 0; i < 20; i += 1) gathered.push(await enter());
      await clock.pass(200);
    }
    assert.deepEqual(shed, []);
    for (const place of gathered.splice(0)) place.leave(100);
    await serve(6, 100);
    assert.equal(overload.limit(), undefined);
  });

  test("counts a far backend as far, and not as an overload", async () => {
    const { overload, fill, serve } = start({ longestMs: 0, shortestMs: 300 });
    await fill(300);
    await serve(20, 749);
    assert.equal(overload.limit(), undefined);
    await serve(5, 751);
    assert.notEqual(overload.limit(), undefined);
  });

  test("says nothing while nothing is served: a backend that hangs is not an overload", async () => {
    const { overload, fill, clock, enter } = start();
    await fill(300);
    for (let i = 0; i < 50; i += 1) {
      (await enter()).leave(undefined);
      await clock.pass(200);
    }
    assert.equal(overload.limit(), undefined);
  });

  test("goes down while calls are slow, to 96 at least, and up again while it is reached and they are not", async () => {
    const { overload, fill, serve, enter, outcome, clock } = start();
    const places = await fill(300);
    await serve(5, 300);
    const limits = [overload.limit() ?? 0];
    for (let i = 0; i < 3; i += 1) {
      await serve(1, 300);
      limits.push(overload.limit() ?? 0);
    }
    assert.deepEqual(
      limits,
      limits.toSorted((a, b) => b - a),
    );
    assert.ok((limits.at(-1) ?? 0) < 300);
    await serve(40, 900);
    assert.equal(overload.limit(), 96);
    for (const place of places.slice(0, 200)) place.leave();
    // Reached, and quick: it rises.
    const knock = outcome(enter());
    (await enter("served")).leave(50);
    await clock.pass(1000);
    assert.equal(await knock, "overloaded");
    (await enter("served")).leave();
    assert.ok((overload.limit() ?? 0) > 96);
  });

  test("ends when it has not been reached for a second, and when nobody has asked for one", async () => {
    const first = start();
    const places = await first.fill(300);
    await first.serve(5, 300);
    for (const place of places) place.leave();
    await first.serve(6, 100);
    assert.equal(first.overload.limit(), undefined);

    const second = start();
    const others = await second.fill(300);
    await second.serve(5, 300);
    assert.notEqual(second.overload.limit(), undefined);
    await second.clock.pass(2000);
    await second.enter("served").then((place) => place.leave());
    assert.notEqual(second.overload.limit(), undefined, "a stall lifts no limit while callers wait");
    for (const place of others) place.leave();
    await second.clock.pass(1100);
    assert.equal(await second.outcome(second.enter()), "in");
    assert.equal(second.overload.limit(), undefined);
  });

  test("sheds the cluster that asks for more than its share; one that asks for little is let in", async () => {
    const { fill, serve, enter, outcome, clock } = start();
    await fill(290, "storm");
    await fill(10, "calm");
    await serve(5, 300);
    await enter("storm");
    const storm = outcome(enter("storm"));
    assert.equal(await outcome(enter("calm")), "in");
    assert.equal(await outcome(enter("newcomer")), "in");
    await clock.pass(1000);
    assert.equal(await storm, "overloaded");
  });

  test("counts what the further calls of a batch cost, until the batch is done", async () => {
    const { serve, enter, outcome, clock, overload } = start();
    const batch = await enter("storm");
    // Each an eighth of a request.
    batch.grow(99 * 8);
    await serve(5, 300);
    assert.equal(overload.limit(), 101);
    await enter("storm");
    const refused = outcome(enter("storm"));
    await clock.pass(1000);
    assert.equal(await refused, "overloaded");
    batch.leave(10);
    assert.equal(await outcome(enter("storm")), "in");
  });
});

suite("a refusal", () => {
  async function full(backend?: { longestMs: number; shortestMs: number }) {
    const started = start(backend);
    await started.fill(300);
    await started.serve(5, 900);
    await started.enter();
    return started;
  }

  test("comes at once while there are few, and two hundred in a second when there are many", async () => {
    const { enter, clock } = await full();
    let told = 0;
    for (let i = 0; i < 450; i += 1) enter().catch(() => void (told += 1));
    await clock.pass(0);
    assert.ok(told >= 200 && told <= 202, `${told} at once`);
    await clock.pass(500);
    assert.ok(told >= 299 && told <= 303, `${told} after half a second`);
    await clock.pass(500);
    assert.equal(told, 450, "nobody waits for longer than a second");
  });

  test("leaves two thirds of the caller's time", async () => {
    const { enter, clock } = await full();
    for (let i = 0; i < 400; i += 1) enter().catch(() => {});
    let isTold = false;
    enter("a", 300).catch(() => (isTold = true));
    await clock.pass(99);
    assert.equal(isTold, false);
    await clock.pass(1);
    assert.equal(isTold, true);
  });

  test("ends with its caller, and leaves no timer behind", async () => {
    const { enter, clock, outcome } = await full();
    for (let i = 0; i < 400; i += 1) enter().catch(() => {});
    const before = clock.waiting();
    const leaver = new AbortController();
    const told = outcome(enter("a", 3000, leaver.signal));
    await clock.pass(0);
    assert.equal(clock.waiting(), before + 1);
    leaver.abort(new KmsError("canceled"));
    assert.equal(await told, "canceled");
    assert.equal(clock.waiting(), before);
  });

  test("is deadline_exceeded where the backend takes longer than the caller waits, at any time", async () => {
    const { enter, outcome, shed } = start({ longestMs: 90, shortestMs: 3 });
    assert.equal(await outcome(enter("a", 91)), "in");
    assert.equal(await outcome(enter("a", 90)), "deadline_exceeded");
    assert.deepEqual(shed, ["time"]);
  });
});
