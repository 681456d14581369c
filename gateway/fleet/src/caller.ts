// Who calls the fleet service, and what that one may do. (docs/architecture.md #control-plane.)
import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { isFor } from "@claviger/proto/runtime/certificates.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { AnyOperatorName, TrustDomain } from "@claviger/proto/wire/names.ts";
import { type Identity, readIdentity } from "@claviger/gateway-core/src/identity.ts";
import { expiryOf, findPath, isValidAt, issuersOf } from "@claviger/gateway-core/src/pki/trust.ts";
import type { Operators } from "./config.ts";
import { createGrant, type Grant, rank, type Role } from "./grants.ts";
import { refuse } from "./refusal.ts";

export type Operator = Grant & {
  readonly kind: "operator";
  readonly operator: AnyOperatorName;
  /** Unix milliseconds: what the caller has shown is good until then. A stream ends there. */
  readonly until: number;
  /** Those of a token's groups that give the role; absent where the operator has it by name. */
  readonly groups?: readonly string[];
};
export type Node = Identity & { readonly kind: "node" };
export type Caller = Operator | Node | { readonly kind: "anonymous" };

/** What a method asks of its caller. `anybody` brings what it needs in the request. */
export type Need = "anybody" | "certificate" | "node" | Role;

/** @throws Refusal unauthenticated or permission_denied */
export function checkNeed(need: Need, caller: Caller): void {
  if (need === "anybody") return;
  if (caller.kind === "anonymous") throw refuse("unauthenticated", "this method needs a client certificate or a token");
  if (need === "certificate") return;
  if (need === "node") {
    if (caller.kind !== "node") throw refuse("permission_denied", "this method is for nodes");
    return;
  }
  if (caller.kind !== "operator") throw refuse("permission_denied", "this method is for operators");
  if (rank[caller.role] < rank[need])
    throw refuse("permission_denied", `this takes the role ${need}; ${caller.operator} is ${caller.role}`);
}

/** Who a connection is, by the CAs that were trusted then. */
type Known = { readonly identity: Identity | undefined; readonly under: readonly X509Certificate[] };

/** The token of an `authorization` header. @throws Refusal */
function bearerOf(authorization: string): string {
  const [, token] = /^Bearer +([\w.~+/-]+=*)$/i.exec(authorization) ?? [];
  if (token === undefined) throw refuse("unauthenticated", "authorization: must be Bearer and a token");
  return token;
}

/** What a request shows of who sends it, beside the connection's certificate. */
export type Shown = {
  readonly authorization?: string | undefined;
  readonly cookie?: string | undefined;
  /** Browsers say which page sends a request; nobody else does. (https://fetch.spec.whatwg.org #origin-header.) */
  readonly origin?: string | undefined;
  readonly fetchSite?: string | undefined;
  readonly host?: string | undefined;
  /** A page of another origin can send none of this name without being asked whether it may. */
  readonly protocolVersion?: string | undefined;
};

/**
 * Who sends a request over a connection. It rejects with Refusal unauthenticated for a certificate, a token or a
 * session that does not count, permission_denied for an operator without a role, and for a page of another origin.
 */
export type Callers = (socket: TLSSocket, shown: Shown) => Promise<Caller>;

/**
 * What comes from a browser comes from a page of this service.
 * @param own where browsers reach this service; what they call it by where that is not configured
 * @throws Refusal permission_denied
 */
export function checkOrigin({ origin, fetchSite, host }: Shown, own: string | undefined): void {
  const isOther =
    (origin !== undefined && origin !== (own ?? `https://${host}`)) ||
    (fetchSite !== undefined && fetchSite !== "same-origin" && fetchSite !== "none");
  if (isOther)
    throw refuse(
      "permission_denied",
      "a page of another origin sends this; open the console at its own address ('console.url' in fleet.yaml)",
    );
}

/**
 * What a session counts for comes from a page of the console: a browser adds the cookie to whatever a page sends, and
 * a page of another origin cannot send these two.
 * @throws Refusal permission_denied
 */
export function checkPage({ origin, protocolVersion }: Shown): void {
  if (origin === undefined || protocolVersion !== "1")
    throw refuse(
      "permission_denied",
      "what a session counts for comes from a page of the console: origin or connect-protocol-version is missing",
    );
}

/**
 * @param clientCa the CAs that sign clients, now: another array after each change
 * @param tokenOperator the operator that a token names
 */
export function createCallers({
  trustDomain,
  operators,
  clientCa,
  tokenOperator,
  sessionOperator = () => Promise.resolve(undefined),
  url,
  now = Date.now,
}: {
  readonly trustDomain: TrustDomain;
  /** Those of certificates, now: another object after each change. */
  readonly operators: () => Operators;
  readonly clientCa: () => readonly X509Certificate[];
  readonly tokenOperator: (token: string) => Promise<Operator>;
  /** The operator of a session in a cookie; undefined where there is none. It rejects with Refusal. */
  readonly sessionOperator?: (cookies: string | undefined) => Promise<Operator | undefined>;
  /** Where browsers reach this service. */
  readonly url?: string | undefined;
  readonly now?: () => number;
}): Callers {
  const seen = new WeakMap<TLSSocket, Known>();
  const grantsOf = (of: Operators) => ({
    of,
    grants: new Map(Object.entries(of).map(([name, one]) => [name, createGrant(one)] as const)),
  });
  let known = grantsOf(operators());

  const identify = (socket: TLSSocket, authorities: readonly X509Certificate[]): Identity | undefined => {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) return undefined;
    const path = findPath(certificate, authorities);
    if (path === undefined)
      throw refuse("unauthenticated", "the client certificate is signed by none of the trusted CAs");
    if (!isFor("client", certificate)) throw refuse("unauthenticated", "the certificate is not for clients");
    if (!isValidAt(path, now())) throw refuse("unauthenticated", "the client certificate, or its CA, is not valid now");
    try {
      return {
        ...readIdentity(certificate, trustDomain),
        notAfter: expiryOf(path),
        issuers: issuersOf(path, authorities),
      };
    } catch (error) {
      if (!(error instanceof KmsError)) throw error;
      const { message } = error.cause as Error;
      throw refuse("unauthenticated", `the client certificate names nobody: ${message}`);
    }
  };

  const byCertificate = (socket: TLSSocket): Caller => {
    const under = clientCa();
    let entry = seen.get(socket);
    // A CA that is trusted no longer ends what its certificates may do on open connections too.
    if (entry?.under !== under) {
      seen.delete(socket);
      entry = { identity: identify(socket, under), under };
      seen.set(socket, entry);
    }
    const { identity } = entry;
    if (identity === undefined) return { kind: "anonymous" };
    if (identity.notAfter < now()) throw refuse("unauthenticated", "the client certificate has expired");
    if (identity.kind === "node") return identity;
    const of = operators();
    if (known.of !== of) known = grantsOf(of);
    const operator = known.grants.get(identity.operator);
    if (operator === undefined)
      throw refuse("permission_denied", `operator ${identity.operator} has no role; see 'operators' in fleet.yaml`);
    return { kind: "operator", operator: identity.operator, until: identity.notAfter, ...operator };
  };

  return async (socket, shown) => {
    checkOrigin(shown, url);
    const { authorization, cookie } = shown;
    if (authorization === undefined) {
      const caller = byCertificate(socket);
      const operator = await sessionOperator(cookie);
      if (operator === undefined) return caller;
      if (caller.kind !== "anonymous")
        throw refuse("unauthenticated", "the call comes with a client certificate and a session; show one of the two");
      checkPage(shown);
      return operator;
    }
    // One call, one caller: which of two would stand in the record?
    if (socket.getPeerX509Certificate() !== undefined)
      throw refuse("unauthenticated", "the call comes with a client certificate and a token; show one of the two");
    return await tokenOperator(bearerOf(authorization));
  };
}
