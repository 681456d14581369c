// Keeps one Vault token good for ever: renews it at two thirds of its life, logs in again before it
// ends and after a 403, never gives up. One flight at a time; while a token is being replaced,
// requests go on with the one that still works. (docs/architecture.md #vault.)
import { KmsError, type Reason, toKmsError } from "@claviger/proto/wire/errors.ts";
import type { Secret } from "@claviger/proto/runtime/secret.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { AuthConfig } from "../config.ts";
import { raceAbort } from "@claviger/proto/runtime/abort.ts";
import type { VaultClient } from "./client.ts";
import { createLockoutGuard, fingerprint } from "./lockout.ts";
import { createLogin, isKnownToken, type Lease, renew } from "./login.ts";

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
  close(): void;
}

const loginMs = 5000;
const firstPauseMs = 100;
const lastPauseMs = 3000;
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
function lockable(auth: AuthConfig): readonly string[] {
  if (auth.kind === "approle") return [auth.roleIdFile, auth.secretIdFile];
  return auth.kind === "userpass" ? [auth.passwordFile] : [];
}

/** @param clientOf a client of the login's namespace with that token, or none */
export function keepToken({
  auth,
  clientOf,
  log,
  now = Date.now,
}: {
  readonly auth: AuthConfig;
  readonly clientOf: (token?: Secret) => VaultClient;
  readonly log: Log;
  readonly now?: () => number;
}): TokenKeeper {
  const logIn = createLogin(auth, clientOf);
  const tokenFile = auth.kind === "token-file" || auth.kind === "token" ? auth.file : undefined;
  const guard = createLockoutGuard({ files: lockable(auth), now });
  let lease: (Lease & { readonly endsAt: number }) | undefined;
  let flight: Promise<Secret> | undefined;
  let failure: { readonly error: KmsError; readonly at: number } | undefined;
  let timer: NodeJS.Timeout | undefined;
  let pauseMs = firstPauseMs;
  let replaceMs = firstReplaceMs;
  let replacedAt = Number.NEGATIVE_INFINITY;
  let lookup: Promise<boolean> | undefined;
  let isClosed = false;
  let fileMark = "";

  const schedule = (ms: number, work: () => void): void => {
    clearTimeout(timer);
    if (!isClosed) timer = setTimeout(work, Math.min(ms, 2 ** 31 - 1)).unref();
  };

  const take = (next: Lease): Secret => {
    lease = { ...next, endsAt: next.ttlMs > 0 ? now() + next.ttlMs : Number.POSITIVE_INFINITY };
    failure = undefined;
    pauseMs = firstPauseMs;
    // Two thirds, and not all replicas in the same second.
    const wait = next.ttlMs * (2 / 3) * (0.9 + Math.random() * 0.1);
    if (next.ttlMs > 0) schedule(wait, () => void (next.isRenewable ? renewNow(next.ttlMs) : again()));
    else clearTimeout(timer);
    return next.token;
  };

  const logInNow = (): Promise<Secret> => {
    flight ??= (async () => {
      if (tokenFile !== undefined) fileMark = await fingerprint(tokenFile);
      if (!(await guard.mayTry()) && failure !== undefined) throw failure.error;
      try {
        const next = await logIn(AbortSignal.timeout(loginMs));
        guard.tried(false);
        log.info({ event: "vault-login", kind: auth.kind, ttlSeconds: next.ttlMs / 1000 }, "logged in to Vault");
        return take(next);
      } catch (error) {
        failure = { error: asLoginFailure(toKmsError(error)), at: now() };
        if (failure.error.reason === "backend_login_refused") guard.tried(true);
        throw failure.error;
      }
    })().finally(() => {
      flight = undefined;
    });
    return flight;
  };

  // For callers: no more logins than Vault can bear, however many ask.
  const logInForCaller = async (): Promise<Secret> => {
    if (flight === undefined && failure !== undefined && now() - failure.at < failureMs) throw failure.error;
    return await logInNow();
  };

  // Logs in until it works; the old token stays in use meanwhile.
  const again = async (): Promise<void> => {
    try {
      await logInNow();
    } catch (error) {
      log.error({ event: "vault-login-failed", kind: auth.kind, err: error }, "no login to Vault; trying again");
      schedule(pauseMs * (0.75 + Math.random() / 2), () => void again());
      pauseMs = Math.min(pauseMs * 2, lastPauseMs);
    }
  };

  const renewNow = async (granted: number): Promise<void> => {
    const old = lease;
    if (old === undefined || flight !== undefined) return;
    try {
      const next = await renew(clientOf(old.token), AbortSignal.timeout(loginMs));
      // A login that came in between made a better one.
      if (lease !== old) return;
      // Close to its max TTL Vault grants less and less: time for a new token, while this one still
      // works. A static one has no successor.
      if (next.ttlMs < granted * 0.6 && auth.kind !== "token") await again();
      else take({ ...next, token: old.token });
    } catch (error) {
      log.warn({ event: "vault-renew-failed", err: error }, "the token could not be renewed; logging in again");
      if (lease === old) await again();
    }
  };

  // A token that Vault still knows lacks a right; one that it does not know was revoked, and is
  // replaced at once.
  const isKnown = (token: Secret): Promise<boolean> => {
    lookup ??= isKnownToken(clientOf(token), AbortSignal.timeout(loginMs)).finally(() => {
      lookup = undefined;
    });
    return lookup;
  };

  const replaceNow = async (refused: Secret): Promise<Secret> => {
    const age = now() - replacedAt;
    if (flight === undefined && age < replaceMs) {
      if (age < firstReplaceMs && failure !== undefined) throw failure.error;
      if (age < firstReplaceMs || (await isKnown(refused)))
        throw new KmsError("backend_denied", { cause: new Error("a new token did not help lately") });
      if (lease !== undefined && lease.token !== refused) return lease.token;
    }
    if (flight === undefined) {
      replaceMs = age > 2 * lastReplaceMs ? firstReplaceMs : Math.min(replaceMs * 2, lastReplaceMs);
      replacedAt = now();
    }
    return await logInForCaller();
  };

  const look = async (): Promise<void> => {
    const mark = tokenFile === undefined || flight !== undefined ? "" : await fingerprint(tokenFile);
    if (mark !== "" && mark !== fileMark && flight === undefined) await again();
  };
  const looking = tokenFile === undefined ? undefined : setInterval(() => void look(), tokenFileLookMs).unref();

  void again();

  return {
    async current(signal) {
      if (lease !== undefined && now() < lease.endsAt) return lease.token;
      return await raceAbort(logInForCaller(), signal);
    },
    async replace(refused, signal) {
      if (lease !== undefined && lease.token !== refused) return lease.token;
      return await raceAbort(replaceNow(refused), signal);
    },
    close() {
      isClosed = true;
      clearTimeout(timer);
      clearInterval(looking);
    },
  };
}
