// The states of a gateway's Vault token, and what follows what: pure, without timers or requests.
// Every state has a next wake-up, but for one that is closed and a token that never ends.
// (docs/architecture.md #vault.) token.ts acts on it.
import type { Secret } from "@claviger/proto/runtime/secret.ts";
import type { Lease } from "./login.ts";

/** A token that works, as far as is known. Times are of the clock that `next` is given. */
export type HeldToken = {
  readonly token: Secret;
  /** What the login granted, in milliseconds: renewals that give much less end at a max TTL. */
  readonly grantedMs: number;
  readonly isRenewable: boolean;
  readonly endsAt: number;
  /** When to renew it, or to log in again where it cannot be renewed. */
  readonly renewAt: number;
};

/** `held` is used for requests meanwhile. `wakeAt` of a request under way is when it counts as failed. */
export type TokenState =
  | { readonly kind: "logging-in"; readonly held?: HeldToken; readonly pauseMs: number; readonly wakeAt: number }
  | { readonly kind: "valid"; readonly held: HeldToken; readonly wakeAt: number }
  | {
      readonly kind: "renewing";
      readonly held: HeldToken;
      readonly pauseMs: number;
      /** Somebody asked for another token meanwhile. */
      readonly thenLogIn: boolean;
      readonly wakeAt: number;
    }
  /** The last login failed. */
  | { readonly kind: "waiting"; readonly held?: HeldToken; readonly pauseMs: number; readonly wakeAt: number }
  | { readonly kind: "closed"; readonly held?: HeldToken; readonly wakeAt: number };

export type TokenEvent =
  /** `wakeAt` has come. */
  | { readonly kind: "wake" }
  /** A caller was refused or has no token, or the token's file changed. */
  | { readonly kind: "login-wanted" }
  | { readonly kind: "logged-in"; readonly lease: Lease }
  | { readonly kind: "login-failed" }
  | { readonly kind: "renewed"; readonly lease: Lease }
  | { readonly kind: "renewal-failed" }
  | { readonly kind: "close" };

export type TokenContext = {
  readonly now: number;
  /** 0 to 1, at random: not all replicas in the same second. */
  readonly spread: number;
  /** The login reads one token from a file: a successor comes only with the file. */
  readonly isStatic: boolean;
};

/** How long a login or a renewal may take. */
export const requestMs = 5000;
export const firstPauseMs = 100;
export const lastPauseMs = 3000;
const shortestRenewMs = 500;
const longestRetryMs = 60_000;

export const initialState: TokenState = { kind: "waiting", pauseMs: firstPauseMs, wakeAt: Number.NEGATIVE_INFINITY };

/** The token that can be used now. */
export function usable(state: TokenState, now: number): HeldToken | undefined {
  return state.held !== undefined && now < state.held.endsAt ? state.held : undefined;
}

function hold({ token, ttlMs, isRenewable }: Lease, grantedMs: number, { now, spread }: TokenContext): HeldToken {
  const renewAt = now + Math.max(ttlMs * (2 / 3) * (0.9 + spread * 0.1), shortestRenewMs);
  return { token, grantedMs, isRenewable, endsAt: now + ttlMs, renewAt };
}

function valid(held: HeldToken): TokenState {
  return { kind: "valid", held, wakeAt: held.renewAt };
}

function loggingIn(held: HeldToken | undefined, pauseMs: number, now: number): TokenState {
  return { kind: "logging-in", ...(held !== undefined && { held }), pauseMs, wakeAt: now + requestMs };
}

function isDue(held: HeldToken | undefined, now: number): held is HeldToken {
  return held !== undefined && held.isRenewable && held.renewAt <= now;
}

/** A renewal that fails is due again soon: the nearer its end, the sooner. */
function renewing(held: HeldToken, pauseMs: number, now: number): TokenState {
  const retryMs = Math.min(Math.max((held.endsAt - now) / 20, shortestRenewMs), longestRetryMs);
  const tried = { ...held, renewAt: now + retryMs };
  return { kind: "renewing", held: tried, pauseMs, thenLogIn: false, wakeAt: now + requestMs };
}

function loginFailed(
  state: Extract<TokenState, { kind: "logging-in" }>,
  held: HeldToken | undefined,
  { now, spread }: TokenContext,
): TokenState {
  const pauseMs = Math.min(state.pauseMs * 2, lastPauseMs);
  // Callers that ask for logins without end keep no renewal from its turn.
  if (isDue(held, now)) return renewing(held, pauseMs, now);
  const wakeAt = now + state.pauseMs * (0.75 + spread / 2);
  return { kind: "waiting", ...(held !== undefined && { held }), pauseMs, wakeAt };
}

function loggedIn(state: TokenState, lease: Lease, context: TokenContext): TokenState {
  const ttlMs = lease.ttlMs > 0 ? lease.ttlMs : Number.POSITIVE_INFINITY;
  const held = hold({ ...lease, ttlMs }, ttlMs, context);
  // The same token again, perhaps: the file holds no later one, and a renewal that is due stays due.
  const isAgain = context.isStatic && held.isRenewable && state.held?.isRenewable === true;
  return valid(isAgain ? { ...held, renewAt: Math.min(held.renewAt, state.held.renewAt) } : held);
}

/** @returns the same object when the event changes nothing */
export function next(state: TokenState, event: TokenEvent, context: TokenContext): TokenState {
  const { now } = context;
  const held = usable(state, now);
  if (event.kind === "close") return { ...(held !== undefined && { held }), kind: "closed", wakeAt: Infinity };
  switch (state.kind) {
    case "closed":
      return state;
    case "valid":
      if (event.kind === "wake" && isDue(held, now)) return renewing(held, firstPauseMs, now);
      return event.kind === "wake" || event.kind === "login-wanted" ? loggingIn(held, firstPauseMs, now) : state;
    case "waiting":
      if (event.kind === "wake" && isDue(held, now)) return renewing(held, state.pauseMs, now);
      return event.kind === "wake" || event.kind === "login-wanted" ? loggingIn(held, state.pauseMs, now) : state;
    case "logging-in":
      if (event.kind === "logged-in") return loggedIn(state, event.lease, context);
      return event.kind === "wake" || event.kind === "login-failed" ? loginFailed(state, held, context) : state;
    case "renewing": {
      if (event.kind === "wake" || event.kind === "renewal-failed") return loggingIn(held, state.pauseMs, now);
      if (event.kind === "login-wanted")
        return held === undefined ? loggingIn(held, state.pauseMs, now) : { ...state, thenLogIn: true };
      if (event.kind !== "renewed") return state;
      const renewed = hold({ ...event.lease, token: state.held.token }, state.held.grantedMs, context);
      // Close to its max TTL Vault grants less and less: time for a new token, while this one still
      // works. A static one has no successor.
      const endsSoon = event.lease.ttlMs < state.held.grantedMs * 0.6 && !context.isStatic;
      return state.thenLogIn || endsSoon ? loggingIn(renewed, firstPauseMs, now) : valid(renewed);
    }
  }
}
