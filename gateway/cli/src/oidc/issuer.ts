// An OpenID Connect issuer as an operator's command asks it for tokens. The only file that imports openid-client.
// (RFC 8252: a public client on a loopback address, with PKCE; RFC 8628: the device code grant.)
import * as openid from "openid-client";
import { createHttpsFetch, FetchError, isSafeUrl } from "@claviger/proto/runtime/https-fetch.ts";
import { CliError } from "../commander.ts";
import type { FleetOidc } from "../contexts.ts";
import { connectionProblem, readTextFile } from "../outside.ts";
import { codeOf } from "@claviger/proto/runtime/file-problem.ts";

const limits = { timeoutMs: 15_000, maxBytes: 1_048_576 } as const;

/** What a login gives. Secrets. */
export type Tokens = {
  /** What the fleet service is shown. */
  readonly token: string;
  /** Unix milliseconds. */
  readonly expiresAt: number;
  readonly refreshToken?: string;
};

export type CodeLogin = {
  /** Where the browser is sent. */
  readonly url: string;
  /** @param callback where the issuer has sent the browser back to. @throws CliError */
  readonly finish: (callback: URL) => Promise<Tokens>;
};

export type DeviceLogin = {
  readonly code: string;
  readonly url: string;
  /** With the code in it, where the issuer has that. */
  readonly completeUrl?: string;
  /** Resolves when somebody has let the device in. @throws CliError */
  readonly wait: () => Promise<Tokens>;
};

export interface Issuer {
  byCode(redirectUri: string): Promise<CodeLogin>;
  /** @throws CliError, also where the issuer has no such grant */
  byDevice(): Promise<DeviceLogin>;
  /** @throws SessionOver where the issuer takes the refresh token no longer, CliError */
  refresh(refreshToken: string): Promise<Tokens>;
  /** Takes a refresh token back. @returns whether the issuer can. @throws CliError */
  revoke(refreshToken: string): Promise<boolean>;
}

/** The issuer gives no more tokens for a login. `message` says why. */
export class SessionOver extends Error {
  override readonly name = "SessionOver";
}

type Answer = openid.TokenEndpointResponse & openid.TokenEndpointResponseHelpers;

/** The end of a JWT, Unix milliseconds; undefined for what is none. It is the service that verifies it. */
function expiryOf(token: string): number | undefined {
  try {
    const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as { exp?: unknown };
    return typeof claims.exp === "number" ? claims.exp * 1000 : undefined;
  } catch {
    return undefined;
  }
}

function tokensOf(answer: Answer, { issuer, audience }: FleetOidc): Tokens {
  const token = audience === undefined ? answer.id_token : answer.access_token;
  if (token === undefined) throw new SessionOver("it gives no ID token");
  const expiresAt = expiryOf(token);
  if (expiresAt === undefined)
    throw new CliError(
      `the access tokens of ${issuer} are no JWTs: take 'audience' out of the context, for the ID token to be shown`,
    );
  return {
    token,
    expiresAt,
    ...(answer.refresh_token !== undefined && { refreshToken: answer.refresh_token }),
  };
}

function saidBy(error: { readonly error: string; readonly error_description?: string | undefined }): string {
  return error.error_description === undefined ? error.error : `${error.error}: ${error.error_description}`;
}

/** What went wrong with the issuer, in words. */
function explained(error: unknown, issuer: string): unknown {
  if (error instanceof openid.ResponseBodyError || error instanceof openid.AuthorizationResponseError)
    return new CliError(`the issuer ${issuer} refuses (${saidBy(error)})`);
  if (!(error instanceof Error) || error instanceof CliError || error instanceof SessionOver) return error;
  const found = [error, error.cause].find((one) => one instanceof FetchError);
  if (found !== undefined) {
    const code = codeOf(found.cause);
    return new CliError(
      code === undefined ? found.message : `the issuer ${issuer} cannot be reached (${connectionProblem(code)})`,
    );
  }
  if (error instanceof openid.ClientError || codeOf(error)?.startsWith("OAUTH_") === true)
    return new CliError(`the issuer ${issuer} gives an answer that cannot be used (${error.message})`);
  return error;
}

/** @throws CliError */
export async function openIssuer(oidc: FleetOidc): Promise<Issuer> {
  const { issuer, clientId, audience, scopes, ca } = oidc;
  const trusted = ca === undefined ? undefined : readTextFile(ca);
  const ask = createHttpsFetch({ ca: () => trusted, ...limits });
  const inWords = async <T>(run: () => Promise<T>): Promise<T> => {
    try {
      return await run();
    } catch (error) {
      throw explained(error, issuer);
    }
  };
  const config = await inWords(() =>
    openid.discovery(new URL(issuer), clientId, undefined, openid.None(), {
      [openid.customFetch]: (url, { method, headers, body, signal }) => ask(url, { method, headers, body, signal }),
      // The schema of contexts lets http:// pass for this machine alone.
      ...(issuer.startsWith("http:") && { execute: [openid.allowInsecureRequests] }),
    }),
  );
  const wanted = [...new Set(["openid", ...scopes])];
  // RFC 8707 asks for it at both endpoints; what is no URI is what some issuers call an audience.
  const target: Readonly<Record<string, string>> =
    audience === undefined ? {} : URL.canParse(audience) ? { resource: audience } : { audience };
  const parameters: Readonly<Record<string, string>> = {
    scope: wanted.join(" "),
    ...target,
    // OpenID Connect Core section 11: a refresh token is given where the person has agreed.
    ...(wanted.includes("offline_access") && { prompt: "consent" }),
  };

  return {
    byCode: (redirectUri) =>
      inWords(async () => {
        const verifier = openid.randomPKCECodeVerifier();
        const [expectedState, expectedNonce] = [openid.randomState(), openid.randomNonce()];
        const url = openid.buildAuthorizationUrl(config, {
          ...parameters,
          redirect_uri: redirectUri,
          code_challenge: await openid.calculatePKCECodeChallenge(verifier),
          code_challenge_method: "S256",
          state: expectedState,
          nonce: expectedNonce,
        });
        // It goes to a program that opens whatever it is given.
        if (!isSafeUrl(url.href)) throw new CliError(`the issuer ${issuer} names a page that is no https:// address`);
        const checks = { pkceCodeVerifier: verifier, expectedState, expectedNonce, idTokenExpected: true };
        return {
          url: url.href,
          finish: (callback) =>
            inWords(async () => tokensOf(await openid.authorizationCodeGrant(config, callback, checks, target), oidc)),
        };
      }),
    byDevice: () =>
      inWords(async () => {
        if (config.serverMetadata().device_authorization_endpoint === undefined)
          throw new CliError(
            `the issuer ${issuer} has no device code grant; log in without --device: --no-browser --port PORT with 'ssh -L' does it from another machine`,
          );
        const started = await openid.initiateDeviceAuthorization(config, { ...parameters });
        const { user_code: code, verification_uri: url, verification_uri_complete: completeUrl } = started;
        return {
          code,
          url,
          ...(completeUrl !== undefined && { completeUrl }),
          wait: () =>
            inWords(async () => tokensOf(await openid.pollDeviceAuthorizationGrant(config, started, target), oidc)),
        };
      }),
    refresh: (refreshToken) =>
      inWords(async () => {
        try {
          const answer = await openid.refreshTokenGrant(config, refreshToken, target);
          // One that is not renewed goes on.
          return { refreshToken, ...tokensOf(answer, oidc) };
        } catch (error) {
          if (error instanceof openid.ResponseBodyError && error.error === "invalid_grant")
            throw new SessionOver(saidBy(error));
          throw error;
        }
      }),
    revoke: (refreshToken) =>
      inWords(async () => {
        if (config.serverMetadata().revocation_endpoint === undefined) return false;
        await openid.tokenRevocation(config, refreshToken, { token_type_hint: "refresh_token" });
        return true;
      }),
  };
}
