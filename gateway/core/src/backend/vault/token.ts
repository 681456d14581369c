// Keeps one Vault token good for ever: renews it at two thirds of its life, logs in again before it
// ends and after a 403, never gives up. token-state.ts says what follows what; this file has the one
// timer, makes the requests, and answers callers. (docs/architecture.md #vault.)
import { createSteadyClock } from "@claviger/proto/runtime/clock.ts";
import { KmsError, type Reason, toKmsError } from "@claviger/proto/wire/errors.ts";
import type { Secret } from "@claviger/proto/runtime/secret.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { raceAbort } from "@claviger/proto/runtime/abort.ts";
import type { LoginEnd } from "../port.ts";
import type { VaultClient } from "./client.ts";
import { createLockoutGuard, fingerprint } from "./lockout.ts";
import { type Credentials, createLogin, isKnownToken, renew } from "./login.ts";
import { initialState, lastPauseMs, next, requestMs, type TokenEvent, usable } from "./token-state.ts";

export interface TokenKeeper {
  /** The token to use now; waits only while there is none. @throws KmsError why there is none */
  current(signal: AbortSignal): Promise<Secret>;
  /**
   * Says that Vault refused this token: logs in again, once for all who say so, and resolves with
   * the new one.
   * @throws KmsError when that fails; backend_denied when a new token was tried lately and the
   * refused one is still known to Vault
   */
  replace(refused: Secret, signal: AbortSignal): Promise<Secret>;
  /** When the token ends, by `now`; undefined where it does not, or there is none. */
  end(): LoginEnd | undefined;
  close(): void;
}

/**
 * Callers that find no token share the last failure for this long before one of them asks Vault
 * again.
 */
const failureMs = 500;
/** A missing right is not cured by a new token: how long to wait with the next one, doubling. */
const firstReplaceMs = 1000;
const lastReplaceMs = 30_000;
const tokenFileLookMs = 500;

const refusals: ReadonlySet<Reason> = new Set(["backend_denied", "request_malformed", "key_missing"]);

/**
 * Vault answers a login with 400 (a secret-id that is gone), 403 or 404 (a mount that is gone):
 * never the fault of a caller's request, and no decision about any cluster. The gateway's own lost
 * credential is an outage, in which shims have a grace period, or it would stop the writes of a whole fleet.
 * (docs/architecture.md #shim.)
 */
function asLoginFailure(error: KmsError): KmsError {
  return refusals.has(error.reason) ? new KmsError("backend_login_refused", { cause: error }) : error;
}

/** The files of a credential that Vault counts failures of. */
function lockable(auth: Credentials): readonly string[] {
  if (auth.kind === "approle") return [auth.roleIdFile, auth.secretIdFile];
  return auth.kind === "userpass" ? [auth.passwordFile] : [];
}

/** @param clientOf a client of the login's namespace with that token, or none */
export function keepToken({
  auth,
  clientOf,
  log,
  now = createSteadyClock(),
}: {
  readonly auth: Credentials;
  readonly clientOf: (token?: Secret) => VaultClient;
  readonly log: Log;
  readonly now?: () => number;
}): TokenKeeper {
  const logIn = createLogin(auth, clientOf);
  const isStatic = auth.kind === "token";
  const tokenFile = auth.kind === "token-file" || auth.kind === "token" ? auth.file : undefined;
  const guard = createLockoutGuard({ files: lockable(auth), now });
  let state = initialState;
  let timer: NodeJS.Timeout | undefined;
  let request: AbortController | undefined;
  /** Of the last login, until one succeeds. */
  let failure: { readonly error: KmsError; readonly at: number } | undefined;
  /** What callers wait for: the next login that ends. */
  let outcome: PromiseWithResolvers<Secret> | undefined;
  let fileMark = "";
  let replaceMs = firstReplaceMs;
  let replacedAt = Number.NEGATIVE_INFINITY;
  let lookup: Promise<boolean> | undefined;
  let isCountedLogged = false;
  /** Requests that the token is still good for. */
  let usesLeft = Number.POSITIVE_INFINITY;
  let usesGranted = Number.POSITIVE_INFINITY;

  const arm = (): void => {
    clearTimeout(timer);
    if (!Number.isFinite(state.wakeAt)) return;
    const wake = (): void => (now() < state.wakeAt ? arm() : move({ kind: "wake" }));
    timer = setTimeout(wake, Math.min(Math.max(state.wakeAt - now(), 1), 2 ** 31 - 1)).unref();
  };

  const answer = (how: (waiting: PromiseWithResolvers<Secret>) => void): void => {
    if (outcome !== undefined) how(outcome);
    outcome = undefined;
  };

  const noteFailure = (error: unknown): void => {
    const told = asLoginFailure(toKmsError(error));
    // Failures follow each other within seconds; one after a while, in which the token was good, is new.
    const isNew = failure?.error.reason !== told.reason || now() - failure.at > 4 * lastPauseMs;
    failure = { error: told, at: now() };
    if (isNew) {
      log.error({ event: "vault-login-failed", kind: auth.kind, err: told }, "no login to Vault; trying again");
    }
    answer(({ reject }) => reject(told));
  };

  const login = async (signal: AbortSignal): Promise<TokenEvent> => {
    if (tokenFile !== undefined) fileMark = await fingerprint(tokenFile);
    const mayTry = await guard.mayTry();
    try {
      if (!mayTry && failure !== undefined) throw failure.error;
      const lease = await logIn(signal);
      guard.tried(false);
      return { kind: "logged-in", lease };
    } catch (error) {
      if (mayTry && asLoginFailure(toKmsError(error)).reason === "backend_login_refused") guard.tried(true);
      if (!signal.aborted) noteFailure(error);
      return { kind: "login-failed" };
    }
  };

  const renewal = async (token: Secret, signal: AbortSignal): Promise<TokenEvent> => {
    try {
      return { kind: "renewed", lease: await renew(clientOf(token), signal) };
    } catch (error) {
      if (state.kind !== "closed")
        log.warn({ event: "vault-renew-failed", err: error }, "the token could not be renewed; logging in again");
      return { kind: "renewal-failed" };
    }
  };

  // The answer to a request that a later state ended says nothing any more.
  const ask = (work: (signal: AbortSignal) => Promise<TokenEvent>): void => {
    const own = new AbortController();
    request = own;
    void work(own.signal).then((event) => (request === own ? move(event) : undefined));
  };

  // The only place where the state, the timer and the request under way change.
  const move = (event: TokenEvent): void => {
    const before = state;
    if (before.kind === "logging-in" && event.kind === "wake")
      noteFailure(new KmsError("backend_unavailable", { cause: new Error("no answer to a login in time") }));
    state = next(before, event, { now: now(), spread: Math.random(), isStatic });
    arm();
    if (state.kind === before.kind) return;
    const ended = request;
    request = undefined;
    ended?.abort(new KmsError("canceled"));
    const { kind, held } = state;
    if (event.kind === "logged-in" && held !== undefined) {
      failure = undefined;
      usesGranted = usesLeft = event.lease.uses ?? Number.POSITIVE_INFINITY;
      if (event.lease.uses !== undefined && !isCountedLogged)
        log.warn(
          { event: "vault-token-counted", kind: auth.kind, uses: event.lease.uses },
          "the tokens of this role end after so many requests; they are replaced before",
        );
      isCountedLogged = event.lease.uses !== undefined;
      const ttlSeconds = Number.isFinite(held.grantedMs) ? held.grantedMs / 1000 : 0;
      log.info({ event: "vault-login", kind: auth.kind, ttlSeconds }, "logged in to Vault");
      answer(({ resolve }) => resolve(held.token));
    }
    if (kind === "logging-in") ask(login);
    if (kind === "renewing" && held !== undefined) ask((signal) => renewal(held.token, signal));
    if (kind === "closed") answer(({ reject }) => reject(new KmsError("canceled")));
  };

  const isLoggingIn = (): boolean => state.kind === "logging-in" || (state.kind === "renewing" && state.thenLogIn);
  const heldToken = (): Secret | undefined => usable(state, now())?.token;

  // For callers: no more logins than Vault can bear, however many ask.
  const logInForCaller = async (): Promise<Secret> => {
    if (state.kind === "closed") throw new KmsError("canceled");
    if (!isLoggingIn() && failure !== undefined && now() - failure.at < failureMs) throw failure.error;
    outcome ??= Promise.withResolvers<Secret>();
    const { promise } = outcome;
    move({ kind: "login-wanted" });
    return await promise;
  };

  // A token that Vault still knows lacks a right; one that it does not know was revoked, and is
  // replaced at once.
  const isKnown = (token: Secret): Promise<boolean> => {
    lookup ??= isKnownToken(clientOf(token), AbortSignal.timeout(requestMs)).finally(() => {
      lookup = undefined;
    });
    return lookup;
  };

  const replaceNow = async (refused: Secret): Promise<Secret> => {
    const age = now() - replacedAt;
    if (!isLoggingIn() && age < replaceMs) {
      if (age < firstReplaceMs && failure !== undefined) throw failure.error;
      if (age < firstReplaceMs || (await isKnown(refused)))
        throw new KmsError("backend_denied", { cause: new Error("a new token did not help lately") });
      const current = heldToken();
      if (current !== undefined && current !== refused) return current;
    }
    if (!isLoggingIn()) {
      replaceMs = age > 2 * lastReplaceMs ? firstReplaceMs : Math.min(replaceMs * 2, lastReplaceMs);
      replacedAt = now();
    }
    return await logInForCaller();
  };

  // A login under way reads the file itself, and a change after that is seen at the next look.
  const look = async (file: string): Promise<void> => {
    const mark = state.kind === "logging-in" ? "" : await fingerprint(file);
    if (mark !== "" && mark !== fileMark) move({ kind: "login-wanted" });
  };
  const looking =
    tokenFile === undefined ? undefined : setInterval(() => void look(tokenFile), tokenFileLookMs).unref();

  move({ kind: "login-wanted" });

  return {
    async current(signal) {
      usesLeft -= 1;
      // One that is counted is replaced while it still works; with the last use callers wait.
      if (Number.isFinite(usesLeft) && usesLeft <= usesGranted * 0.3 && state.kind === "valid")
        move({ kind: "login-wanted" });
      const held = usesLeft < 0 ? undefined : heldToken();
      return held ?? (await raceAbort(logInForCaller(), signal));
    },
    async replace(refused, signal) {
      const current = heldToken();
      if (current !== undefined && current !== refused) return current;
      return await raceAbort(replaceNow(refused), signal);
    },
    end() {
      const held = usable(state, now());
      if (held === undefined || !Number.isFinite(held.endsAt)) return undefined;
      return { until: held.endsAt, isLast: isStatic && !held.isRenewable };
    },
    close() {
      clearInterval(looking);
      move({ kind: "close" });
    },
  };
}
