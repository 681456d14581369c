// Tokens of one issuer: signed JWTs, held against its keys and its settings. What a token says counts only
// after that. The only file that imports jose. (docs/architecture.md #control-plane.)
import { createLocalJWKSet, decodeJwt, errors, type JSONWebKeySet, type JWTVerifyGetKey, jwtVerify } from "jose";
import { refuse, type Refusal } from "../refusal.ts";
import type { IssuerConfig } from "./config.ts";
import type { IssuerKeys } from "./keys.ts";

/** So far clocks may differ. */
const leewaySeconds = 10;
/** A token of another use (logout, DPoP proof, ...) says so here: RFC 8725 section 3.11. */
const types: ReadonlySet<string> = new Set(["jwt", "application/jwt", "at+jwt", "application/at+jwt"]);

export type KeySet = JWTVerifyGetKey;

export type Verified = {
  readonly claims: Readonly<Record<string, unknown>>;
  /** Unix milliseconds: from then on the token counts for nothing. */
  readonly until: number;
};

/** @param json a JSON Web Key Set. @throws Error where it is none */
export function parseKeySet(json: unknown): KeySet {
  return createLocalJWKSet(json as JSONWebKeySet);
}

/** What a token says of itself, which nobody has looked at yet; undefined where it is no JWT. */
export function unverifiedClaims(token: string): { readonly iss?: unknown; readonly aud?: unknown } | undefined {
  try {
    return decodeJwt(token);
  } catch {
    return undefined;
  }
}

/** Why a token is refused, without a word of what stands in it. */
function reasonOf(error: InstanceType<typeof errors.JOSEError>, { issuer, audience }: IssuerConfig): Refusal {
  const because = (why: string): Refusal => refuse("unauthenticated", why);
  if (error instanceof errors.JWTExpired)
    return because(`the token has ${error.claim === "exp" ? "expired" : "been issued too long ago"}; get another`);
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.reason === "missing") return because(`the token has no claim ${error.claim}`);
    if (error.claim === "aud") return because(`the token is not for the audience ${audience}`);
    if (error.claim === "iss") return because(`the token is not of the issuer ${issuer}`);
    return because(`the token is not valid yet (${error.claim}); do the clocks differ?`);
  }
  if (error instanceof errors.JOSEAlgNotAllowed)
    return because("the token is signed by an algorithm that 'algorithms' in fleet.yaml does not list");
  if (error instanceof errors.JWKSNoMatchingKey)
    return because(`the token is signed by none of the keys of the issuer ${issuer}`);
  if (error instanceof errors.JWKSMultipleMatchingKeys)
    return because(`the token does not say which of the keys of the issuer ${issuer} has signed it (kid)`);
  if (error instanceof errors.JWSSignatureVerificationFailed) return because("the token's signature is wrong");
  return because("the token is no signed JWT");
}

/** @returns what holds a token against the issuer. It throws Refusal unauthenticated, unavailable */
export function createVerifier({
  config,
  keys,
  now,
}: {
  readonly config: IssuerConfig;
  readonly keys: IssuerKeys<KeySet>;
  readonly now: () => number;
}): (token: string) => Promise<Verified> {
  const keyOf: JWTVerifyGetKey = async (header, token) => {
    const known = await keys.current();
    try {
      return await known(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      const others = await keys.newer(known);
      if (others === undefined) throw error;
      return await others(header, token);
    }
  };
  const { issuer, audience, algorithms, lifetime } = config;
  return async (token) => {
    try {
      const { payload, protectedHeader } = await jwtVerify(token, keyOf, {
        issuer,
        audience,
        algorithms: [...algorithms],
        requiredClaims: ["sub", "exp"],
        maxTokenAge: lifetime / 1000,
        clockTolerance: leewaySeconds,
        currentDate: new Date(now()),
      });
      const { typ = "JWT" } = protectedHeader;
      if (typeof typ !== "string" || !types.has(typ.toLowerCase()))
        throw refuse("unauthenticated", "the token is for another use (typ)");
      const { exp = 0, iat = 0 } = payload;
      return { claims: payload, until: Math.min(exp * 1000, iat * 1000 + lifetime) };
    } catch (error) {
      throw error instanceof errors.JOSEError ? reasonOf(error, config) : error;
    }
  };
}
