// Operators by their tokens: which issuer, who, and what that one may do. (docs/architecture.md #control-plane.)
import { tokenOperatorName } from "@claviger/proto/wire/names.ts";
import type { Operator } from "../caller.ts";
import { createGrant, highestOf } from "../grants.ts";
import { refuse } from "../refusal.ts";
import type { IssuerConfig, OidcConfig } from "./config.ts";
import { createIssuerKeys, type IssuerKeys } from "./keys.ts";
import { createVerifier, type KeySet, parseKeySet, unverifiedClaims, type Verified } from "./verify.ts";

/** The operator that a token names. It rejects with Refusal unauthenticated, permission_denied, unavailable. */
export type TokenOperators = (token: string) => Promise<Operator>;

type Claims = Verified["claims"];

/** @throws Refusal */
function nameIn(claims: Claims, claim: string): string {
  const name = Object.hasOwn(claims, claim) ? claims[claim] : undefined;
  if (name === undefined) throw refuse("unauthenticated", `the token has no claim ${claim}`);
  if (typeof name !== "string") throw refuse("unauthenticated", `the token's claim ${claim} is no text`);
  // As kube-apiserver has it: an address that nobody has confirmed is whatever its holder likes.
  if (claim === "email" && (claims["email_verified"] ?? true) !== true)
    throw refuse("unauthenticated", "the token's e-mail address is not verified");
  return name;
}

/** @throws Refusal */
function groupsIn(claims: Claims, claim: string): readonly string[] {
  const given = Object.hasOwn(claims, claim) ? claims[claim] : undefined;
  if (given === undefined || given === null) return [];
  const groups: readonly unknown[] = Array.isArray(given) ? given : [given];
  if (!groups.every((group) => typeof group === "string"))
    throw refuse("unauthenticated", `the token's claim ${claim} is no list of texts`);
  return groups;
}

/** What one issuer's tokens give. */
function operatorsOf(issuer: string, { claims: names, ...config }: IssuerConfig): (verified: Verified) => Operator {
  const grants = (all: IssuerConfig["operators"]) =>
    new Map(Object.entries(all).map(([name, one]) => [name, createGrant(one)]));
  const [byName, byGroup] = [grants(config.operators), grants(config.groups)];
  return ({ claims, until }) => {
    const name = nameIn(claims, names.name);
    const operator = `oidc:${issuer}:${name}`;
    if (!tokenOperatorName.is(operator))
      throw refuse("unauthenticated", `the token's claim ${names.name} must be ${tokenOperatorName.rule}`);
    const groups = new Set(groupsIn(claims, names.groups));
    const own = byName.get(name);
    const giving = [...groups].filter((group) => byGroup.has(group));
    const grant = own ?? highestOf(giving.flatMap((group) => byGroup.get(group) ?? []));
    if (grant === undefined)
      throw refuse("permission_denied", `operator ${operator} has no role; see 'oidc.${issuer}' in fleet.yaml`);
    return { kind: "operator", operator, until, ...grant, ...(own === undefined && { groups: giving }) };
  };
}

/**
 * @param discover how the keys of an issuer are read: as JSON
 * @param onFailure hears of each time that they cannot be
 */
export function createTokenOperators({
  oidc,
  discover,
  onFailure,
  now = Date.now,
}: {
  /** The issuers, now: another object after each change. */
  readonly oidc: () => OidcConfig;
  readonly discover: (config: IssuerConfig) => () => Promise<unknown>;
  readonly onFailure: (issuer: string, error: unknown) => void;
  readonly now?: () => number;
}): TokenOperators {
  /** By what they are read with: other operators of an issuer leave its keys as they are. */
  let held = new Map<string, IssuerKeys<KeySet>>();
  const keysOf = (name: string, config: IssuerConfig): readonly [id: string, keys: IssuerKeys<KeySet>] => {
    const { issuer, ca, keepKeys } = config;
    const id = JSON.stringify([name, issuer, ca, keepKeys]);
    const known = held.get(id);
    if (known !== undefined) return [id, known];
    const readKeys = discover(config);
    const keys = createIssuerKeys({
      issuer,
      read: async () => parseKeySet(await readKeys()),
      keepMs: keepKeys,
      onFailure: (error) => onFailure(name, error),
    });
    // An issuer that cannot be read is said at the start, and not when the first one comes.
    keys.current().catch(() => {});
    return [id, keys];
  };
  const build = (of: OidcConfig) => {
    const next = new Map<string, IssuerKeys<KeySet>>();
    const issuers = Object.entries(of).map(([name, config]) => {
      const [id, keys] = keysOf(name, config);
      next.set(id, keys);
      return { config, verify: createVerifier({ config, keys, now }), operatorOf: operatorsOf(name, config) };
    });
    held = next;
    return { of, issuers };
  };
  let built = build(oidc());
  return async (token) => {
    const of = oidc();
    if (built.of !== of) built = build(of);
    const { issuers } = built;
    if (issuers.length === 0) throw refuse("unauthenticated", "this service takes no tokens; see 'oidc' in fleet.yaml");
    const said = unverifiedClaims(token);
    if (said === undefined) throw refuse("unauthenticated", "the token is no signed JWT");
    const ofIssuer = issuers.filter(({ config }) => config.issuer === said.iss);
    const audiences: readonly unknown[] = Array.isArray(said.aud) ? said.aud : [said.aud];
    const issuer = ofIssuer.find(({ config }) => audiences.includes(config.audience)) ?? ofIssuer[0];
    if (issuer === undefined)
      throw refuse("unauthenticated", "the token is of an issuer that 'oidc' in fleet.yaml does not have");
    return issuer.operatorOf(await issuer.verify(token));
  };
}
