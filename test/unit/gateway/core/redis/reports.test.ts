import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createRedisReports } from "@claviger/gateway-core/src/redis/reports.ts";
import { steadyMs } from "@claviger/proto/runtime/end-reports.ts";
import { pino } from "pino";

function setUp() {
  let now = 0;
  let timer: { readonly at: number; readonly run: () => void } | undefined;
  const lines: string[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => void lines.push(line) });
  const reports = createRedisReports(log, "127.0.0.1:6379", {
    now: () => now,
    setTimeout(run, milliseconds) {
      timer = { at: now + milliseconds, run };
      return 1 as unknown as NodeJS.Timeout;
    },
    clearTimeout: () => (timer = undefined),
  });
  const pass = (milliseconds: number): void => {
    now += milliseconds;
    if (timer === undefined || timer.at > now) return;
    const { run } = timer;
    timer = undefined;
    run();
  };
  const seen = (): readonly string[] =>
    lines.map((line) => {
      const { event, problem } = JSON.parse(line) as { readonly event: string; readonly problem?: string };
      return [event, problem].join(" ").trim();
    });
  return { reports, pass, seen };
}

suite("what is logged of a Redis", () => {
  test("it is there at once at first, away at once, and there again when it has been for a while", () => {
    const { reports, pass, seen } = setUp();
    assert.equal(reports.problem(), "not connected yet");
    reports.report(undefined);
    reports.report("away");
    assert.equal(reports.problem(), "away");
    reports.report(undefined);
    assert.equal(reports.problem(), undefined);
    assert.deepEqual(seen(), ["redis-ready", "redis-away away"]);
    // Calls that succeed do not put it off.
    for (let ms = 0; ms < steadyMs; ms += 100) {
      pass(100);
      reports.report(undefined);
    }
    assert.deepEqual(seen(), ["redis-ready", "redis-away away", "redis-ready"]);
  });

  test("one that takes some commands and refuses others is away, once", () => {
    const { reports, pass, seen } = setUp();
    for (let i = 0; i < 100; i++) {
      reports.report("it is out of memory");
      pass(50);
      reports.report(undefined);
      pass(steadyMs / 2);
    }
    assert.deepEqual(seen(), ["redis-away it is out of memory"]);
  });

  test("another reason is another line, but not many in a second", () => {
    const { reports, pass, seen } = setUp();
    for (let i = 0; i < 20; i++) {
      reports.report(i % 2 === 0 ? "one" : "two");
      pass(100);
    }
    reports.report("two");
    assert.deepEqual(seen(), ["redis-away one", "redis-away two"]);
  });
});
