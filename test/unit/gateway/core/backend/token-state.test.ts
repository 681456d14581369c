import assert from "node:assert/strict";
import { suite, test } from "node:test";
import * as fc from "fast-check";
import type { Lease } from "@claviger/gateway-core/src/backend/vault/login.ts";
import {
  initialState,
  next,
  type TokenContext,
  type TokenEvent,
  type TokenState,
  usable,
} from "@claviger/gateway-core/src/backend/vault/token-state.ts";
import { Secret } from "@claviger/proto/runtime/secret.ts";

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const leaseFor = (ttlMs: number, isRenewable = true): Lease => ({ token: new Secret("token"), ttlMs, isRenewable });

function assertWakes(state: TokenState): void {
  const isEndless = state.kind === "valid" && state.held.endsAt === Number.POSITIVE_INFINITY;
  if (state.kind === "closed" || isEndless) return;
  assert.ok(Number.isFinite(state.wakeAt) || state === initialState, `${state.kind} has no next wake-up`);
}

const events: fc.Arbitrary<TokenEvent> = fc.oneof(
  fc.constantFrom<TokenEvent>(
    { kind: "wake" },
    { kind: "login-wanted" },
    { kind: "login-failed" },
    { kind: "renewal-failed" },
  ),
  fc
    .tuple(fc.constantFrom("logged-in" as const, "renewed" as const), fc.nat({ max: hour }), fc.boolean())
    .map(([kind, ttlMs, isRenewable]) => ({ kind, lease: leaseFor(ttlMs, isRenewable) })),
);

/** How Vault answers while something is wrong with it. */
type Blip = { readonly from: number; readonly to: number; readonly how: "refuses" | "fails" | "hangs" };
const latencyMs = 20;
const dayMs = 24 * hour;

/** A token and its Vault for a day. `periodic`: lives as long as it is renewed, and has no successor. */
function simulate(
  blips: readonly Blip[],
  wishes: readonly number[],
  { periodic, spread }: { readonly periodic: boolean; readonly spread: number },
): { state: TokenState; renewals: number; logins: number; withoutToken: number } {
  const lifeMs = hour;
  let now = 0;
  let vaultEnd = lifeMs;
  let maxEnd = periodic ? Number.POSITIVE_INFINITY : 0;
  let [renewals, logins, withoutToken] = [0, 0, 0];
  let state: TokenState = initialState;
  let reply: { readonly at: number; readonly event: TokenEvent } | undefined;

  const ask = (kind: "logging-in" | "renewing"): typeof reply => {
    const failed: TokenEvent = { kind: kind === "logging-in" ? "login-failed" : "renewal-failed" };
    const at = now + latencyMs;
    const how = blips.find(({ from, to }) => now >= from && now < to)?.how;
    if (how === "hangs") return undefined;
    const isDead = now >= vaultEnd && (kind === "renewing" || periodic);
    if (how !== undefined || isDead) return { at, event: failed };
    if (kind === "renewing") {
      renewals++;
      vaultEnd = Math.min(now + lifeMs, maxEnd);
      return { at, event: { kind: "renewed", lease: leaseFor(Math.floor((vaultEnd - now) / second) * second) } };
    }
    logins++;
    if (!periodic) [vaultEnd, maxEnd] = [now + lifeMs, now + 4 * lifeMs];
    return { at, event: { kind: "logged-in", lease: leaseFor(Math.floor((vaultEnd - now) / second) * second) } };
  };
  const act = (event: TokenEvent): void => {
    const before = state;
    const context: TokenContext = { now, spread, isStatic: periodic };
    state = next(state, event, context);
    assertWakes(state);
    if (state.kind === before.kind) return;
    reply = state.kind === "logging-in" || state.kind === "renewing" ? ask(state.kind) : undefined;
    if (now > minute && usable(state, now) === undefined) withoutToken++;
  };

  act({ kind: "login-wanted" });
  // Callers are refused all through a blip of refusals, and ask for a new token each time.
  let nextCaller = Number.POSITIVE_INFINITY;
  const pending = wishes.toSorted((one, other) => one - other);
  for (;;) {
    const isRefused = blips.some(({ from, to, how }) => how === "refuses" && now >= from && now < to);
    nextCaller = isRefused ? Math.min(nextCaller, now + 700) : Number.POSITIVE_INFINITY;
    const nextBlip = blips.find(({ from }) => from > now)?.from ?? Number.POSITIVE_INFINITY;
    const at = Math.min(reply?.at ?? Infinity, state.wakeAt, pending[0] ?? Infinity, nextCaller, nextBlip);
    if (at >= dayMs) return { state, renewals, logins, withoutToken };
    now = Math.max(at, now);
    if (reply !== undefined && reply.at <= now) {
      const { event } = reply;
      reply = undefined;
      act(event);
    } else if (pending[0] !== undefined && pending[0] <= now) {
      pending.shift();
      act({ kind: "login-wanted" });
    } else if (nextCaller <= now) {
      nextCaller = Number.POSITIVE_INFINITY;
      act({ kind: "login-wanted" });
    } else if (state.wakeAt <= now) act({ kind: "wake" });
  }
}

/** Each shorter than what a token has left when its renewal is due, and with a minute of peace between. */
const blipLists = fc
  .array(
    fc.tuple(
      fc.integer({ min: 2 * minute, max: hour }),
      fc.integer({ min: 100, max: 15 * minute }),
      fc.constantFrom<Blip["how"]>("refuses", "fails", "hangs"),
    ),
    { minLength: 20, maxLength: 60 },
  )
  .map((parts) => {
    let from = 0;
    return parts.map(([peace, length, how]): Blip => {
      const blip = { from: from + peace, to: from + peace + length, how };
      from = blip.to;
      return blip;
    });
  });

suite("the states of a token", () => {
  test("every state has a next wake-up, unless it is closed or the token never ends", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(events, fc.nat({ max: hour }), fc.double({ min: 0, max: 1, noNaN: true }))),
        fc.boolean(),
        (steps, isStatic) => {
          let [state, now] = [initialState, 0];
          for (const [event, ms, spread] of steps) {
            // A wake-up comes when it is due, and never before.
            now = event.kind === "wake" ? Math.max(now, Math.min(state.wakeAt, now + dayMs)) : now + ms;
            state = next(state, event, { now, spread, isStatic });
            assertWakes(state);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("from every state a Vault that answers leads to a valid token within the time of two requests and a pause", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(events, fc.nat({ max: hour }))), fc.boolean(), (steps, isStatic) => {
        let [state, now] = [initialState, 0];
        const context = (): TokenContext => ({ now, spread: 0.5, isStatic });
        for (const [event, ms] of steps) state = next(state, event, { ...context(), now: (now += ms) });
        const start = now;
        for (let step = 0; state.kind !== "valid" || usable(state, now) === undefined; step++) {
          assert.ok(step < 10, state.kind);
          if (state.kind === "logging-in") state = next(state, { kind: "logged-in", lease: leaseFor(hour) }, context());
          else if (state.kind === "renewing")
            state = next(state, { kind: "renewed", lease: leaseFor(hour) }, context());
          else {
            now = Math.max(now, state.wakeAt);
            state = next(state, { kind: "wake" }, context());
          }
        }
        assert.ok(now - start <= 15 * second || steps.length === 0, `${now - start} ms`);
      }),
      { numRuns: 1000 },
    );
  });

  test("a closed one stays closed, whatever comes", () => {
    const context: TokenContext = { now: 0, spread: 0.5, isStatic: false };
    const closed = next(initialState, { kind: "close" }, context);
    fc.assert(fc.property(events, (event) => next(closed, event, context).kind === "closed"));
  });

  test("a 403 to a caller while a renewal is due: the login that fails is followed by the renewal", () => {
    let now = 0;
    const step = (state: TokenState, event: TokenEvent): TokenState =>
      next(state, event, { now, spread: 0.5, isStatic: true });
    let state = step(step(initialState, { kind: "login-wanted" }), { kind: "logged-in", lease: leaseFor(hour) });
    now = state.wakeAt - 1;
    state = step(state, { kind: "login-wanted" });
    now += 10;
    state = step(state, { kind: "wake" });
    state = state.kind === "logging-in" ? step(state, { kind: "login-failed" }) : state;
    assert.equal(state.kind, "renewing");
    state = step(state, { kind: "renewed", lease: leaseFor(hour) });
    assert.equal(state.kind, "valid");
    assert.ok(state.wakeAt > now + hour / 2);
  });

  for (const periodic of [true, false])
    test(`24 hours of ${periodic ? "a periodic token" : "logins with a max TTL"}: through refusals, failures, time-outs and file changes it is never without a token`, () => {
      fc.assert(
        fc.property(
          blipLists,
          fc.array(fc.nat({ max: dayMs })),
          fc.double({ min: 0, max: 1, noNaN: true }),
          (blips, wishes, spread) => {
            const { state, renewals, logins, withoutToken } = simulate(blips, wishes, { periodic, spread });
            assert.equal(withoutToken, 0);
            assert.ok(usable(state, dayMs) !== undefined, state.kind);
            assert.ok(renewals >= 10 && logins >= 1, `${renewals} renewals, ${logins} logins`);
          },
        ),
        { numRuns: 25 },
      );
    });
});
