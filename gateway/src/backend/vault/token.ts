// Keeps one Vault token good for ever: renews it at two thirds of its life, logs in again before it ends and after a 403, never gives up.
// One flight at a time; while a token is being replaced, requests go on with the one that still works. (Design section 8.)
import { stat } from "node:fs/promises";
import { toKmsError } from "@claviger/proto/errors.ts";
import type { Secret } from "@claviger/proto/secret.ts";
import type { Log } from "../../log.ts";
import type { AuthConfig } from "../config.ts";
import type { VaultClient } from "./client.ts";
import { type Lease, logIn, renew } from "./login.ts";

export interface TokenKeeper {
  /** The token to use now; waits for the first login only. @throws KmsError why there is none */
  current(signal: AbortSignal): Promise<Secret>;
  /** Says that Vault refused this token: logs in again, once for all who say so, and resolves with the new one. Rejects when that fails. */
  replace(refused: Secret, signal: AbortSignal): Promise<Secret>;
  close(): void;
}

const loginMs = 5000;
const firstPauseMs = 100;
const lastPauseMs = 5000;
const tokenFileLookMs = 500;

const credentialFile = (auth: AuthConfig): string | undefined =>
  auth.kind === "token-file" || auth.kind === "token" ? auth.file : undefined;

/** @param clientOf a client of the login's namespace with that token, or none */
export const keepToken = ({
  auth,
  clientOf,
  log,
}: {
  readonly auth: AuthConfig;
  readonly clientOf: (token?: Secret) => VaultClient;
  readonly log: Log;
}): TokenKeeper => {
  let lease: Lease | undefined;
  let flight: Promise<Secret> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let pauseMs = firstPauseMs;
  let isClosed = false;
  let fileMark = "";

  const markOf = async (file: string): Promise<string> =>
    await stat(file).then(
      ({ ino, size, mtimeMs }) => `${ino} ${size} ${mtimeMs}`,
      () => "",
    );

  const schedule = (ms: number, work: () => void): void => {
    clearTimeout(timer);
    if (!isClosed) timer = setTimeout(work, Math.min(ms, 2 ** 31 - 1)).unref();
  };

  const take = (next: Lease): Secret => {
    lease = next;
    pauseMs = firstPauseMs;
    if (next.ttlMs > 0) {
      // Two thirds, and not all replicas in the same second. A token that can only be renewed into its max TTL comes back with less each time.
      const wait = next.ttlMs * (2 / 3) * (0.9 + Math.random() * 0.1);
      const granted = next.ttlMs;
      schedule(wait, () => void (next.isRenewable ? renewNow(granted) : again()));
    }
    return next.token;
  };

  const logInNow = (): Promise<Secret> => {
    flight ??= (async () => {
      const file = credentialFile(auth);
      if (file !== undefined) fileMark = await markOf(file);
      const next = await logIn(auth, clientOf, AbortSignal.timeout(loginMs));
      log.info({ event: "vault-login", kind: auth.kind, ttlSeconds: next.ttlMs / 1000 }, "logged in to Vault");
      return take(next);
    })().finally(() => {
      flight = undefined;
    });
    return flight;
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
    if (lease === undefined) return;
    try {
      const next = await renew(clientOf(lease.token), AbortSignal.timeout(loginMs));
      // Close to its max TTL Vault grants less and less: time for a new token, while this one still works. A static one has no successor.
      if (next.ttlMs < granted * 0.6 && auth.kind !== "token") await again();
      else take(next);
    } catch (error) {
      log.warn({ event: "vault-renew-failed", err: error }, "the token could not be renewed; logging in again");
      await again();
    }
  };

  const look =
    credentialFile(auth) === undefined
      ? undefined
      : setInterval(() => {
          void (async () => {
            const file = credentialFile(auth);
            const mark = file === undefined ? "" : await markOf(file);
            if (mark !== "" && mark !== fileMark && flight === undefined) await again();
          })();
        }, tokenFileLookMs).unref();

  void again();

  const orAbort = async <T>(promise: Promise<T>, signal: AbortSignal): Promise<T> =>
    await Promise.race([
      promise,
      new Promise<never>((_, reject) => {
        if (signal.aborted) reject(toKmsError(signal.reason));
        signal.addEventListener("abort", () => reject(toKmsError(signal.reason)), { once: true });
      }),
    ]);

  return {
    async current(signal) {
      if (lease !== undefined) return lease.token;
      return await orAbort(logInNow(), signal);
    },
    async replace(refused, signal) {
      if (lease !== undefined && lease.token !== refused) return lease.token;
      return await orAbort(logInNow(), signal);
    },
    close() {
      isClosed = true;
      clearTimeout(timer);
      clearInterval(look);
    },
  };
};
