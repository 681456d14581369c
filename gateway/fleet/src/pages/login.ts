// The ways of a browser's login: to the issuer, back from it, and out. What it keeps meanwhile is sealed.
// (docs/architecture.md #console.)
import type { Operator } from "../caller.ts";
import type { Begun, CodeFlow } from "../oidc/code-flow.ts";
import { refuse } from "../refusal.ts";
import { cookieOf, hostCookie } from "./cookies.ts";
import { createSeal } from "./seal.ts";
import type { Sessions } from "./sessions.ts";

export const callbackPath = "/console/callback";
export const loginCookie = "__Host-claviger-login";

const loginMs = 600_000;

/** Where a browser goes next, and what it is given to keep. */
export type Step = { readonly location: string; readonly cookies: readonly string[]; readonly operator?: Operator };

export interface Login {
  /** @throws Refusal */
  begin(): Promise<Step>;
  /** @param target path and query, as the browser asks. @throws Refusal */
  finish(target: string, cookies: string | undefined): Promise<Step>;
  /** Takes the place of the cookie of a login that has failed. */
  readonly forget: string;
}

/**
 * @param secret that all replicas have
 * @param url where browsers reach this service
 * @param tokenOperator the operator that a token names
 */
export function createLogin({
  secret,
  url,
  flow,
  sessions,
  tokenOperator,
}: {
  readonly secret: Uint8Array;
  readonly url: string;
  readonly flow: CodeFlow;
  readonly sessions: Pick<Sessions, "begin">;
  readonly tokenOperator: (token: string) => Promise<Operator>;
}): Login {
  const seal = createSeal<Begun>(secret, "login");
  const forget = hostCookie(loginCookie, "", "Lax", 0);
  return {
    forget,
    async begin() {
      const { url: location, begun } = await flow.begin();
      const sealed = seal.seal(begun, Date.now() + loginMs);
      // The issuer sends the browser back from another site: a cookie that is Strict would not come along.
      return { location, cookies: [hostCookie(loginCookie, sealed, "Lax", loginMs / 1000)] };
    },
    async finish(target, cookies) {
      const begun = seal.open(cookieOf(cookies, loginCookie) ?? "");
      if (begun === undefined)
        throw refuse("unauthenticated", "this browser has not begun with a login, or too long ago: log in again");
      const token = await flow.finish(new URL(target, url), begun);
      const operator = await tokenOperator(token);
      return { location: "/", cookies: [sessions.begin(operator), forget], operator };
    },
  };
}
