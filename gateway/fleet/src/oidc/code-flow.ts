// A login in a browser, as this service runs it: authorization code with PKCE, state and nonce. The only file that
// imports openid-client. (OpenID Connect Core 1.0 section 3.1; RFC 7636; RFC 9700.)
import { readFileSync } from "node:fs";
import * as openid from "openid-client";
import { codeOf, fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import { createHttpsFetch, FetchError, isSafeUrl } from "@claviger/proto/runtime/https-fetch.ts";
import { refuse, Refusal } from "../refusal.ts";
import type { IssuerConfig } from "./config.ts";

const limits = { timeoutMs: 10_000, maxBytes: 1_048_576 } as const;

/** What a login has to be finished with; the browser keeps it, sealed. */
export type Begun = { readonly verifier: string; readonly state: string; readonly nonce: string };

export interface CodeFlow {
  /** Where the browser is sent. @throws Refusal */
  begin(): Promise<{ readonly url: string; readonly begun: Begun }>;
  /**
   * @param callback where the issuer has sent the browser back to
   * @returns the ID token, which nobody has looked at yet
   * @throws Refusal
   */
  finish(callback: URL, begun: Begun): Promise<string>;
}

/** What went wrong with the issuer, in words, and without anything that is secret. */
function refusalOf(error: unknown, issuer: string): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof openid.AuthorizationResponseError || error instanceof openid.ResponseBodyError)
    return refuse("unauthenticated", `the issuer ${issuer} refuses the login (${error.error.slice(0, 64)})`);
  // RFC 6749 section 5.2: so an issuer refuses a client.
  if (error instanceof openid.WWWAuthenticateChallengeError)
    return refuse(
      "unauthenticated",
      `the issuer ${issuer} does not take this service for its client: see its 'audience', and 'console.login.clientSecretFile'`,
    );
  const found = [error, (error as Error).cause].find((one) => one instanceof FetchError);
  if (found !== undefined) return refuse("unavailable", found.message);
  if (error instanceof openid.ClientError || codeOf(error)?.startsWith("OAUTH_") === true)
    return refuse("unauthenticated", `the issuer ${issuer} gives an answer that cannot be used; log in again`);
  return new Refusal("internal", "the fleet service has a fault; its log says more", { cause: error });
}

/** @throws Refusal */
function readFileNow(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw refuse("unavailable", `${file} cannot be read (${fileProblem(error)})`);
  }
}

/** @param redirectUri where the issuer sends the browser back to */
export function createCodeFlow({
  config: { issuer, audience: clientId, ca },
  redirectUri,
  scopes,
  clientSecretFile,
}: {
  readonly config: Pick<IssuerConfig, "issuer" | "audience" | "ca">;
  readonly redirectUri: string;
  readonly scopes: readonly string[];
  readonly clientSecretFile: string | undefined;
}): CodeFlow {
  const ask = createHttpsFetch({ ca: () => (ca === undefined ? undefined : readFileNow(ca)), ...limits });
  // Its metadata are read for each login: they are rare, and the issuer has to answer in any case.
  const discover = (): Promise<openid.Configuration> =>
    openid.discovery(
      new URL(issuer),
      clientId,
      undefined,
      clientSecretFile === undefined ? openid.None() : openid.ClientSecretPost(readFileNow(clientSecretFile).trim()),
      {
        [openid.customFetch]: (url, { method, headers, body, signal }) => ask(url, { method, headers, body, signal }),
        ...(issuer.startsWith("http:") && { execute: [openid.allowInsecureRequests] }),
      },
    );
  return {
    async begin() {
      try {
        const verifier = openid.randomPKCECodeVerifier();
        const [state, nonce] = [openid.randomState(), openid.randomNonce()];
        const { href: url } = openid.buildAuthorizationUrl(await discover(), {
          redirect_uri: redirectUri,
          scope: [...new Set(["openid", ...scopes])].join(" "),
          code_challenge: await openid.calculatePKCECodeChallenge(verifier),
          code_challenge_method: "S256",
          state,
          nonce,
        });
        if (!isSafeUrl(url))
          throw refuse("unavailable", `the issuer ${issuer} names a page that is no https:// address`);
        return { url, begun: { verifier, state, nonce } };
      } catch (error) {
        throw refusalOf(error, issuer);
      }
    },
    async finish(callback, { verifier, state, nonce }) {
      try {
        const { id_token: token } = await openid.authorizationCodeGrant(await discover(), callback, {
          pkceCodeVerifier: verifier,
          expectedState: state,
          expectedNonce: nonce,
          idTokenExpected: true,
        });
        if (token === undefined) throw refuse("unauthenticated", `the issuer ${issuer} gives no ID token`);
        return token;
      } catch (error) {
        throw refusalOf(error, issuer);
      }
    },
  };
}
