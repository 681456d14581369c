import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createEndReports, steadyMs } from "@claviger/proto/runtime/end-reports.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";

const failure = new KmsError("backend_unavailable");

function setUp() {
  let now = 0;
  const timers = new Map<number, { readonly at: number; readonly run: () => void }>();
  let made = 0;
  const said: string[] = [];
  const reports = createEndReports({
    down: (name) => said.push(`${name} down`),
    up: (name) => said.push(`${name} up`),
    clock: {
      now: () => now,
      setTimeout: (run, milliseconds) => {
        timers.set(++made, { at: now + milliseconds, run });
        return made as unknown as NodeJS.Timeout;
      },
      clearTimeout: (timer) => void timers.delete(timer as unknown as number),
    },
  });
  const pass = (milliseconds: number): void => {
    now += milliseconds;
    for (const [key, { at, run }] of timers)
      if (at <= now) {
        timers.delete(key);
        run();
      }
  };
  return { reports, said, pass };
}

suite("reports of remote ends", () => {
  test("one that goes down is reported at once, and up when it has stayed so", () => {
    const { reports, said, pass } = setUp();
    reports.changed("a", failure);
    assert.deepEqual(said, ["a down"]);
    reports.changed("a", undefined);
    pass(steadyMs - 1);
    assert.deepEqual(said, ["a down"]);
    pass(1);
    assert.deepEqual(said, ["a down", "a up"]);
  });

  test("one that answers some calls and fails others is down, once", () => {
    const { reports, said, pass } = setUp();
    for (let i = 0; i < 100; i++) {
      reports.changed("a", failure);
      pass(10);
      reports.changed("a", undefined);
      pass(steadyMs / 2);
    }
    assert.deepEqual(said, ["a down"]);
    pass(steadyMs);
    assert.deepEqual(said, ["a down", "a up"]);
  });

  test("ends are told apart, one that was never down is not reported, and nothing is after the end", () => {
    const { reports, said, pass } = setUp();
    reports.changed("b", undefined);
    reports.changed("a", failure);
    reports.changed("c", failure);
    reports.changed("a", undefined);
    reports.close();
    pass(steadyMs);
    assert.deepEqual(said, ["a down", "c down"]);
  });
});
