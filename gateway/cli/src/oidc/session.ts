// The token of a login, as commands show it: renewed before it expires, where the issuer has given the means.
import { CliError, type Terminal } from "../commander.ts";
import type { FleetOidc } from "../contexts.ts";
import { openTokenStore, type Stored, type TokenStore } from "./store.ts";

/** So long before its end a token is renewed; a quarter of its life where that is less, but never less than `wayMs`. */
const marginMs = 60_000;
/** So long a call may take to reach the service: what ends sooner is not shown any more. */
const wayMs = 5000;

function isFresh({ expiresAt, obtainedAt }: Stored): boolean {
  return expiresAt - Date.now() > Math.max(wayMs, Math.min(marginMs, (expiresAt - obtainedAt) / 4));
}
function isGood({ expiresAt }: Stored): boolean {
  return expiresAt - Date.now() > wayMs;
}

async function renew(oidc: FleetOidc, store: TokenStore, before: Stored & { refreshToken: string }): Promise<Stored> {
  // Loaded where it is needed: most commands find a token that is good.
  const { openIssuer, SessionOver } = await import("./issuer.ts");
  try {
    return await store.write(await (await openIssuer(oidc)).refresh(before.refreshToken));
  } catch (error) {
    if (isGood(before)) return before;
    if (!(error instanceof SessionOver)) throw error;
    throw new CliError(`the session at ${oidc.issuer} is over (${error.message}): run 'claviger login'`);
  }
}

/** A token that is good. @throws CliError where there is none: a person must log in */
export async function tokenOf(oidc: FleetOidc, terminal: Terminal): Promise<string> {
  const store = openTokenStore(oidc, terminal);
  const read = async (): Promise<Stored> => {
    const found = await store.read();
    if (found === undefined) throw new CliError(`you are not logged in at ${oidc.issuer}: run 'claviger login'`);
    return found;
  };
  const stored = await read();
  if (isFresh(stored)) return stored.token;
  if (stored.refreshToken === undefined) {
    if (isGood(stored)) return stored.token;
    const ended = new Date(stored.expiresAt).toISOString();
    throw new CliError(`the session at ${oidc.issuer} ended at ${ended}: run 'claviger login'`);
  }
  return await store.alone(async () => {
    // Meanwhile another command may have done it.
    const { refreshToken, ...now } = await read();
    if (refreshToken === undefined || isFresh(now)) return now.token;
    return (await renew(oidc, store, { ...now, refreshToken })).token;
  });
}
