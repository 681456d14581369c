// A call's life: its deadline, its caller's patience, its buffers. Under a clock of its own.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "@claviger/proto/runtime/clock.ts";
import { RequestScope } from "@claviger/proto/runtime/request-scope.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import * as fc from "fast-check";

function fakeClock() {
  let now = 1000;
  const timers = new Map<object, { readonly at: number; readonly run: () => void }>();
  const clock: Clock = {
    now: () => now,
    setTimeout: (run, milliseconds) => {
      const key = {};
      timers.set(key, { at: now + milliseconds, run });
      return key as NodeJS.Timeout;
    },
    clearTimeout: (timer) => void timers.delete(timer),
  };
  const pass = (milliseconds: number): void => {
    now += milliseconds;
    for (const [key, { at, run }] of timers)
      if (at <= now) {
        timers.delete(key);
        run();
      }
  };
  return { clock, pass, pending: () => timers.size };
}

function reasonOf(scope: RequestScope): unknown {
  return scope.signal.aborted ? (scope.signal.reason as KmsError).reason : undefined;
}

test("a deadline that has passed when it becomes known ends the call at once, and not with the next timer", () => {
  const { clock, pass, pending } = fakeClock();
  const scope = new RequestScope(1000, clock);
  pass(5);
  scope.limit(6);
  assert.equal(reasonOf(scope), undefined);
  scope.limit(5);
  assert.equal(reasonOf(scope), "deadline_exceeded");
  const other = new RequestScope(1000, clock);
  other.limit(-1);
  assert.equal(reasonOf(other), "deadline_exceeded");
  assert.equal(pending(), 0);
});

test("the signal aborts with the deadline, which moves to an earlier time only", () => {
  const { clock, pass } = fakeClock();
  const scope = new RequestScope(1000, clock);
  scope.limit(5000);
  assert.equal(scope.leftMs, 1000);
  scope.limit(300);
  pass(299);
  assert.equal(reasonOf(scope), undefined);
  pass(1);
  assert.equal(reasonOf(scope), "deadline_exceeded");
  assert.equal(scope.elapsedMs, 300);
});

test("the first reason counts, and dispose is none", () => {
  const { clock, pass } = fakeClock();
  const left = new RequestScope(1000, clock);
  left.cancel();
  pass(2000);
  assert.equal(reasonOf(left), "canceled");
  const over = new RequestScope(1000, clock);
  over.dispose();
  over.cancel();
  over.limit(1);
  pass(2000);
  assert.equal(reasonOf(over), undefined);
});

test("whatever happens in whatever order, after dispose every buffer is zero and no timer is left", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("buffer" as const), size: fc.nat(64) }),
    fc.record({ kind: fc.constant("cancel" as const) }),
    fc.record({ kind: fc.constant("limit" as const), ms: fc.nat(3000) }),
    fc.record({ kind: fc.constant("pass" as const), ms: fc.nat(3000) }),
    fc.record({ kind: fc.constant("dispose" as const) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), fc.nat(3000), (steps, timeout) => {
      const { clock, pass, pending } = fakeClock();
      const scope = new RequestScope(timeout, clock);
      const buffers: Buffer[] = [];
      let isDisposed = false;
      for (const one of steps)
        switch (one.kind) {
          case "buffer": {
            const bytes = scope.zeroizeLater(Buffer.alloc(one.size, 7));
            buffers.push(bytes);
            assert.ok(isDisposed ? bytes.every((byte) => byte === 0) : bytes.every((byte) => byte === 7));
            break;
          }
          case "cancel":
            scope.cancel(new KmsError("canceled"));
            break;
          case "limit":
            scope.limit(one.ms);
            break;
          case "pass":
            pass(one.ms);
            break;
          case "dispose":
            scope.dispose();
            isDisposed = true;
            break;
        }
      scope.dispose();
      assert.ok(buffers.every((bytes) => bytes.every((byte) => byte === 0)));
      assert.equal(pending(), 0);
      pass(1e6);
    }),
    { numRuns: 500 },
  );
});
