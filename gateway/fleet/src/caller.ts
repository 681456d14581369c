// Who calls the fleet service, and what that one may do. (docs/architecture.md #control-plane.)
import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { isFor } from "@claviger/proto/runtime/certificates.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { OperatorName, TrustDomain } from "@claviger/proto/wire/names.ts";
import { type Identity, readIdentity } from "@claviger/gateway-core/src/identity.ts";
import { expiryOf, findPath, isValidAt, issuersOf } from "@claviger/gateway-core/src/pki/trust.ts";
import { createServes, selectorText, type Serves } from "@claviger/gateway-core/src/registry/labels.ts";
import type { Operators, roles } from "./config.ts";
import { refuse } from "./refusal.ts";

export type Role = (typeof roles)[number];

/** `mayTouch` says which clusters the role is for, `clusters` says it in words. */
export type Operator = {
  readonly kind: "operator";
  readonly operator: OperatorName;
  readonly role: Role;
  readonly mayTouch: Serves;
  readonly clusters: string;
};
export type Node = Identity & { readonly kind: "node" };
export type Caller = Operator | Node | { readonly kind: "anonymous" };

/** What a method asks of its caller. `anybody` brings what it needs in the request. */
export type Need = "anybody" | "certificate" | "node" | Role;

const rank: Readonly<Record<Role, number>> = { viewer: 0, operator: 1, admin: 2 };

/** @throws Refusal unauthenticated or permission_denied */
export function checkNeed(need: Need, caller: Caller): void {
  if (need === "anybody") return;
  if (caller.kind === "anonymous") throw refuse("unauthenticated", "this method needs a client certificate");
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

/**
 * @param clientCa the CAs that sign clients, now: another array after each change
 * @returns the caller behind a connection. It throws Refusal unauthenticated for a certificate that does
 * not count, permission_denied for an operator without a role
 */
export function createCallers({
  trustDomain,
  operators,
  clientCa,
  now = Date.now,
}: {
  readonly trustDomain: TrustDomain;
  readonly operators: Operators;
  readonly clientCa: () => readonly X509Certificate[];
  readonly now?: () => number;
}): (socket: TLSSocket) => Caller {
  const seen = new WeakMap<TLSSocket, Known>();
  const known = new Map(
    Object.entries(operators).map(([name, { role, clusters }]) => [
      name,
      { role, mayTouch: createServes(clusters), clusters: clusters === undefined ? "" : selectorText(clusters) },
    ]),
  );

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

  return (socket) => {
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
    const operator = known.get(identity.operator);
    if (operator === undefined)
      throw refuse("permission_denied", `operator ${identity.operator} has no role; see 'operators' in fleet.yaml`);
    return { kind: "operator", operator: identity.operator, ...operator };
  };
}
