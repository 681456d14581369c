// An issuer of tokens with real keys, in this process, and every kind of token that there should not be.
import { createHmac, createPublicKey, generateKeyPairSync, type KeyObject, sign as signBytes } from "node:crypto";
import { SignJWT } from "jose";

export const issuerUrl = "https://issuer.test";
export const audience = "claviger";

/** A key pair and the name that it is published under. */
type Signer = { readonly kid: string; readonly alg: string; readonly privateKey: KeyObject };

function signer(kid: string, alg: "RS256" | "ES256" | "EdDSA"): Signer {
  switch (alg) {
    case "RS256":
      return { kid, alg, privateKey: generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey };
    case "ES256":
      return { kid, alg, privateKey: generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey };
    case "EdDSA":
      return { kid, alg, privateKey: generateKeyPairSync("ed25519").privateKey };
  }
}

export const rsa = signer("rsa", "RS256");
export const ec = signer("ec", "ES256");
export const ed = signer("ed", "EdDSA");
/** Of an issuer that nobody has told the service of. */
const stranger = signer("rsa", "RS256");

function published({ kid, alg, privateKey }: Signer): object {
  return { ...createPublicKey(privateKey).export({ format: "jwk" }), kid, alg, use: "sig" };
}

/** A JSON Web Key Set. */
export function keySet(...signers: readonly Signer[]): { readonly keys: readonly object[] } {
  return { keys: signers.map(published) };
}

export type Claims = Readonly<Record<string, unknown>>;

/** @param ago so many seconds ago, negative for what is to come */
export function seconds(ago = 0): number {
  return Math.floor(Date.now() / 1000) - ago;
}

/** What a good token of a person says; a claim that is undefined is left out. */
export function claimsOf(name: string, others: Claims = {}): Claims {
  const all = { iss: issuerUrl, aud: audience, sub: name, iat: seconds(5), exp: seconds(-300), ...others };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

export function sign(claims: Claims, by: Signer = rsa, header: object = {}): Promise<string> {
  return new SignJWT({ ...claims }).setProtectedHeader({ alg: by.alg, kid: by.kid, ...header }).sign(by.privateKey);
}

/** A token whose signature somebody has made without the library. */
function handMade(header: object, claims: Claims, signature: (input: string) => string): string {
  const input = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return `${input}.${signature(input)}`;
}

/** Tokens that name somebody, by who that is. The roles are those of world.ts. */
export async function goodTokens(): Promise<Readonly<Record<string, string>>> {
  return {
    "viewer by token": await sign(claimsOf("vera"), ec),
    "operator by token": await sign(claimsOf("olga"), ed, { typ: "at+jwt" }),
    "operator of blue by token": await sign(claimsOf("bob")),
    "admin by token": await sign(claimsOf("ada", { aud: ["another", audience] })),
    "admin by token of a group": await sign(claimsOf("gina", { groups: ["staff", "admins"] })),
    // The role is the highest; the clusters are those that it is given for.
    "operator of blue by token of two groups": await sign(claimsOf("greg", { groups: ["staff", "blue"] })),
    // A name that is listed counts before groups.
    "viewer by token with a group of admins": await sign(claimsOf("vera", { groups: "admins" })),
  };
}

/** Tokens that count for nothing, by what is wrong with them. All but the first would be ada's, who is admin. */
export async function badTokens(): Promise<Readonly<Record<string, string>>> {
  const ada = claimsOf("ada");
  const { kid } = rsa;
  const publicPem = createPublicKey(rsa.privateKey).export({ type: "spki", format: "pem" }).toString();
  const publicJwk = JSON.stringify(createPublicKey(rsa.privateKey).export({ format: "jwk" }));
  const hs256 = (secret: string): string =>
    handMade({ alg: "HS256", kid }, ada, (input) => createHmac("sha256", secret).update(input).digest("base64url"));
  const good = await sign(ada);
  const byHand = (header: object): string =>
    handMade({ alg: "RS256", kid, ...header }, ada, (input) =>
      signBytes("sha256", Buffer.from(input), rsa.privateKey).toString("base64url"),
    );
  return {
    "token of somebody without a role": await sign(claimsOf("zoe", { groups: ["nobody"] })),
    "token for another audience": await sign(claimsOf("ada", { aud: "another" })),
    "token of another issuer": await sign(claimsOf("ada", { iss: "https://elsewhere.test" })),
    "token of a foreign issuer in this one's name": await sign(ada, stranger),
    "token that has expired": await sign(claimsOf("ada", { iat: seconds(600), exp: seconds(60) })),
    "token that is not valid yet": await sign(claimsOf("ada", { nbf: seconds(-60) })),
    "token that will be issued": await sign(claimsOf("ada", { iat: seconds(-60) })),
    "token that lives too long": await sign(claimsOf("ada", { iat: seconds(90_000) })),
    "token without a signature": handMade({ alg: "none" }, ada, () => ""),
    "token without a signature, in other letters": handMade({ alg: "nOnE", kid }, ada, () => ""),
    "token signed with the public key as a secret": hs256(publicPem),
    "token signed with the public key as a secret, as it is published": hs256(publicJwk),
    "token under the name of another key": await sign(ada, rsa, { kid: ec.kid }),
    "token of an algorithm that is not listed": await sign(ada, { ...rsa, alg: "RS512" }),
    "token under a key that nobody publishes": await sign(ada, rsa, { kid: "other" }),
    "token with a key of its own": await sign(ada, stranger, {
      jwk: createPublicKey(stranger.privateKey).export({ format: "jwk" }),
      jku: "https://elsewhere.test/keys",
    }),
    "token that was altered": handMade({ alg: "RS256", kid }, claimsOf("bob"), () => good.split(".")[2] ?? ""),
    "token without an expiry": await sign(claimsOf("ada", { exp: undefined })),
    "token without a time of issue": await sign(claimsOf("ada", { iat: undefined })),
    "token without a name": await sign(claimsOf("ada", { sub: undefined })),
    "token whose name is a list": await sign(claimsOf("ada", { sub: ["ada"] })),
    "token whose name has a line break": await sign(claimsOf("ada\nada")),
    "token whose groups are a mapping": await sign(claimsOf("gina", { groups: { admins: true } })),
    "token of a logout": await sign(ada, rsa, { typ: "logout+jwt" }),
    "token that needs what nobody knows": byHand({ crit: ["cnf"], cnf: 1 }),
    "token of a type that is no text": byHand({ typ: 1 }),
    "token that names its key by a number": byHand({ kid: 1 }),
    "no token at all": "not-a-token",
  };
}
