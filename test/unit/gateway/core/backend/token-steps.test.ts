// Single steps of a Vault token's states: which state follows, with which token, and when it wakes.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Lease } from "@claviger/gateway-core/src/backend/vault/login.ts";
import {
  firstPauseMs,
  type HeldToken,
  initialState,
  lastPauseMs,
  next,
  requestMs,
  type TokenContext,
  type TokenEvent,
  type TokenState,
  usable,
} from "@claviger/gateway-core/src/backend/vault/token-state.ts";
import { Secret } from "@claviger/proto/runtime/secret.ts";

const now = 1_000_000;
const hour = 3_600_000;
const [token, another] = [new Secret("token"), new Secret("another")];
const lease = (change: Partial<Lease> = {}): Lease => ({ token: another, ttlMs: hour, isRenewable: true, ...change });
const held = (change: Partial<HeldToken> = {}): HeldToken => ({
  token,
  grantedMs: hour,
  isRenewable: true,
  endsAt: now + hour,
  renewAt: now + hour / 2,
  ...change,
});
const step = (state: TokenState, event: TokenEvent, change: Partial<TokenContext> = {}): TokenState =>
  next(state, event, { now, spread: 0.5, isStatic: false, ...change });

const wake: TokenEvent = { kind: "wake" };
const wanted: TokenEvent = { kind: "login-wanted" };
const others: readonly TokenEvent[] = [
  { kind: "logged-in", lease: lease() },
  { kind: "login-failed" },
  { kind: "renewed", lease: lease() },
  { kind: "renewal-failed" },
];
const valid = (one: HeldToken): TokenState => ({ kind: "valid", held: one, wakeAt: one.renewAt });
const waiting = (one?: HeldToken): TokenState => ({
  kind: "waiting",
  ...(one !== undefined && { held: one }),
  pauseMs: 800,
  wakeAt: now,
});
const loggingIn = (one?: HeldToken, pauseMs = 800): TokenState => ({
  kind: "logging-in",
  ...(one !== undefined && { held: one }),
  pauseMs,
  wakeAt: now + requestMs,
});
const renewing = (one: HeldToken, thenLogIn = false): TokenState => ({
  kind: "renewing",
  held: one,
  pauseMs: 800,
  thenLogIn,
  wakeAt: now + requestMs,
});

suite("a token that is held", () => {
  test("is used until its end, and not from then on", () => {
    const one = held();
    assert.equal(usable(valid(one), one.endsAt - 1), one);
    assert.equal(usable(valid(one), one.endsAt), undefined);
    assert.equal(usable(initialState, now), undefined);
  });

  test("is renewed after 60 to 67 % of its time, not all replicas in the same second", () => {
    for (const [spread, share] of [
      [0, 0.6],
      [0.5, 0.95 * (2 / 3)],
      [1, 2 / 3],
    ] as const) {
      const after = step(loggingIn(), { kind: "logged-in", lease: lease() }, { spread });
      assert.ok(after.kind === "valid");
      assert.ok(Math.abs(after.wakeAt - now - share * hour) < 1, `${after.wakeAt - now}`);
      assert.deepEqual(
        [after.held.renewAt, after.held.endsAt, after.held.grantedMs, after.held.token],
        [after.wakeAt, now + hour, hour, another],
      );
    }
  });

  test("has no end where the login says none, and half a second at least until it is renewed", () => {
    for (const [ttlMs, endsAt, wakeAt] of [
      [0, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
      [1, now + 1, now + 500],
    ] as const) {
      const after = step(loggingIn(), { kind: "logged-in", lease: lease({ ttlMs }) });
      assert.ok(after.kind === "valid");
      assert.deepEqual([after.held.endsAt, after.wakeAt], [endsAt, wakeAt]);
    }
  });

  test("stays as it is whatever comes late, of requests that nobody waits for", () => {
    for (const state of [valid(held()), waiting(held()), waiting()])
      for (const event of others) assert.equal(step(state, event), state, `${state.kind}, ${event.kind}`);
    for (const event of [wanted, ...others.slice(2)]) {
      const state = loggingIn(held());
      assert.equal(step(state, event), state, event.kind);
    }
    for (const event of others.slice(0, 2)) {
      const state = renewing(held());
      assert.equal(step(state, event), state, event.kind);
    }
  });

  test("is kept by one that is closed as long as it is good, for it is to be revoked", () => {
    const one = held();
    assert.deepEqual(step(valid(one), { kind: "close" }), { kind: "closed", held: one, wakeAt: Infinity });
    const ended = step(valid(one), { kind: "close" }, { now: one.endsAt });
    assert.deepEqual(ended, { kind: "closed", wakeAt: Infinity });
  });
});

suite("a renewal", () => {
  const due = held({ renewAt: now });

  test("begins when it is due, and counts as failed after the time of a request", () => {
    for (const [state, pauseMs] of [
      [valid(due), firstPauseMs],
      [waiting(due), 800],
    ] as const) {
      const after = step(state, wake);
      assert.deepEqual(
        [after.kind, after.wakeAt, after.kind === "renewing" && [after.pauseMs, after.thenLogIn]],
        ["renewing", now + requestMs, [pauseMs, false]],
      );
    }
  });

  test("begins neither early, nor for a token that cannot be renewed, nor where a new token is wanted", () => {
    const early = held({ renewAt: now + 1 });
    const fixed = held({ renewAt: now, isRenewable: false });
    for (const one of [early, fixed]) {
      assert.deepEqual(step(valid(one), wake), loggingIn(one, firstPauseMs));
      assert.deepEqual(step(waiting(one), wake), loggingIn(one));
    }
    assert.deepEqual(step(valid(due), wanted), loggingIn(due, firstPauseMs));
    assert.deepEqual(step(waiting(due), wanted), loggingIn(due));
  });

  test("that fails is due again after a twentieth of what is left, half a second to a minute", () => {
    for (const [leftMs, retryMs] of [
      [100_000, 5000],
      [1000, 500],
      [hour, 60_000],
    ] as const) {
      const after = step(valid(held({ endsAt: now + leftMs, renewAt: now })), wake);
      assert.ok(after.kind === "renewing");
      assert.equal(after.held.renewAt - now, retryMs);
    }
    for (const event of [wake, { kind: "renewal-failed" }] as TokenEvent[])
      assert.deepEqual(step(renewing(due), event), loggingIn(due));
  });

  test("gives the same token more time; a second time a login follows where one was wanted meanwhile", () => {
    const renewed: TokenEvent = { kind: "renewed", lease: lease() };
    const after = step(renewing(due), renewed);
    assert.ok(after.kind === "valid");
    assert.deepEqual([after.held.token, after.held.endsAt, after.held.grantedMs], [token, now + hour, hour]);
    const asked = step(renewing(due), wanted);
    assert.deepEqual(asked, renewing(due, true));
    assert.deepEqual(step(asked, renewed), loggingIn(after.held, firstPauseMs));
  });

  test("of a token that has ended meanwhile gives way to the login that is wanted", () => {
    assert.deepEqual(step(renewing(held({ endsAt: now })), wanted), loggingIn());
  });

  test("that gives less than 60 % of what the login gave is followed by a login, but for a static token", () => {
    const renewed = (ttlMs: number): TokenEvent => ({ kind: "renewed", lease: lease({ ttlMs }) });
    const least = hour * 0.6;
    assert.equal(step(renewing(due), renewed(least)).kind, "valid");
    const ending = step(renewing(due), renewed(least - 1));
    assert.equal(ending.kind, "logging-in");
    assert.equal(ending.held?.endsAt, now + least - 1);
    assert.equal(step(renewing(due), renewed(least - 1), { isStatic: true }).kind, "valid");
  });
});

suite("a login that fails", () => {
  test("is tried again after a pause of 75 to 125 %, the next one after twice that, and never more than three seconds", () => {
    for (const event of [wake, { kind: "login-failed" }] as TokenEvent[])
      for (const [spread, share] of [
        [0, 0.75],
        [1, 1.25],
      ] as const) {
        const one = held();
        const after = step(loggingIn(one), event, { spread });
        assert.deepEqual(after, { kind: "waiting", held: one, pauseMs: 1600, wakeAt: now + share * 800 });
      }
    const long = step(loggingIn(undefined, lastPauseMs - 1), { kind: "login-failed" });
    assert.ok(long.kind === "waiting");
    assert.equal(long.pauseMs, lastPauseMs);
    assert.ok(!("held" in long));
  });
});

suite("a login", () => {
  test("that reads a file with the same token leaves its renewal where it was", () => {
    const soon = held({ renewAt: now + 1000 });
    const again: TokenEvent = { kind: "logged-in", lease: lease() };
    assert.equal(step(loggingIn(soon), again, { isStatic: true }).wakeAt, now + 1000);
    assert.ok(step(loggingIn(soon), again).wakeAt > now + hour / 2);
    for (const one of [undefined, held({ renewAt: now + 1000, isRenewable: false })])
      assert.ok(step(loggingIn(one), again, { isStatic: true }).wakeAt > now + hour / 2);
  });
});
