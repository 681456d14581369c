// Sessions of people who have logged in with their browser: a sealed cookie that says who, until when. What they
// may is looked up at each call; no token is kept anywhere. (docs/architecture.md #console.)
import { randomUUID } from "node:crypto";
import type { AnyOperatorName } from "@claviger/proto/wire/names.ts";
import type { RedisStore } from "@claviger/gateway-core/src/redis/client.ts";
import { signValue, verifyValue } from "@claviger/gateway-core/src/redis/signed-value.ts";
import type { StandingOf } from "../approvals/standing.ts";
import type { Operator } from "../caller.ts";
import { refuse } from "../refusal.ts";
import { cookieOf, hostCookie } from "./cookies.ts";
import { createSeal } from "./seal.ts";

export const sessionCookie = "__Host-claviger";

type Session = {
  readonly id: string;
  readonly operator: AnyOperatorName;
  readonly groups?: readonly string[];
  readonly until: number;
};

/** Browsers keep no longer ones. */
const longestCookie = 4000;
/** Sessions that were ended here and are not over yet. */
const mostEnded = 10_000;

export interface Sessions {
  /** @returns the cookie, for somebody whose token was verified. @throws Refusal */
  begin(operator: Operator): string;
  /** Undefined where the header has no session. @throws Refusal where it has one that does not count */
  operatorOf(cookies: string | undefined): Promise<Operator | undefined>;
  /** Ends the session. @returns the cookie that takes its place, and whose it was */
  end(cookies: string | undefined): Promise<{ readonly cookie: string; readonly operator: Operator | undefined }>;
}

/** Where replicas tell each other of sessions that were ended; undefined where there is none. */
export type SharedEnds =
  | { readonly redis: Pick<RedisStore, "get" | "set">; readonly secret: () => Uint8Array | undefined }
  | undefined;

/**
 * @param secret that all replicas have
 * @param standingOf the role that somebody has now
 * @param lifetimeMs of a session, at most
 * @param now Unix milliseconds
 */
export function createSessions({
  secret,
  standingOf,
  lifetimeMs,
  shared,
  now = Date.now,
}: {
  readonly secret: Uint8Array;
  readonly standingOf: StandingOf;
  readonly lifetimeMs: number;
  readonly shared: SharedEnds;
  readonly now?: () => number;
}): Sessions {
  const seal = createSeal<Session>(secret, "session", now);
  const ended = new Set<string>();
  const nameOf = (id: string): string => `console-ended:${id}`;

  const isEnded = async (id: string): Promise<boolean> => {
    if (ended.has(id)) return true;
    const key = shared?.secret();
    if (shared === undefined || key === undefined) return false;
    // While Redis is away a session that was ended at another replica lasts until its time is over.
    const value = await shared.redis.get(nameOf(id)).catch(() => null);
    return value !== null && verifyValue(key, nameOf(id), value) !== undefined;
  };
  const over = (): Error => refuse("unauthenticated", "the session is over: log in again");

  const sessions: Sessions = {
    begin({ operator, groups, until: tokenUntil }) {
      const until = Math.min(tokenUntil, now() + lifetimeMs);
      const session: Session = { id: randomUUID(), operator, until, ...(groups !== undefined && { groups }) };
      const cookie = hostCookie(sessionCookie, seal.seal(session, until), "Strict", (until - now()) / 1000);
      if (cookie.length > longestCookie)
        throw refuse(
          "failed_precondition",
          "your groups do not fit into a cookie: name yourself in 'operators' of the issuer, or use 'claviger console'",
        );
      return cookie;
    },
    async operatorOf(cookies) {
      const text = cookieOf(cookies, sessionCookie);
      if (text === undefined) return undefined;
      const session = seal.open(text);
      if (session === undefined || (await isEnded(session.id))) throw over();
      const operator = standingOf(session, session.until);
      if (operator === undefined)
        throw refuse(
          "permission_denied",
          `operator ${session.operator} has no role any more; see 'oidc' in fleet.yaml`,
        );
      return operator;
    },
    async end(cookies) {
      const cookie = hostCookie(sessionCookie, "", "Strict", 0);
      const session = seal.open(cookieOf(cookies, sessionCookie) ?? "");
      if (session === undefined) return { cookie, operator: undefined };
      const { id, until } = session;
      const operator = await sessions.operatorOf(cookies).catch(() => undefined);
      ended.add(id);
      const [oldest] = ended;
      if (ended.size > mostEnded && oldest !== undefined) ended.delete(oldest);
      const key = shared?.secret();
      if (shared !== undefined && key !== undefined)
        await shared.redis
          .set(nameOf(id), signValue(key, nameOf(id), "ended"), Math.max(1, until - now()))
          .catch(() => {});
      return { cookie, operator };
    },
  };
  return sessions;
}
