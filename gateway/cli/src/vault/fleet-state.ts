// What a Vault must hold for the fleet service, beside the gateways' keys: where nodes' certificates are signed,
// and where tokens are kept. (docs/architecture.md #control-plane.)
import { integrityRef } from "@claviger/gateway-core/src/key/integrity.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { prefixOf, wantedKeys, type WantedKey, type WantedRegistry, wantedRegistry } from "./desired-state.ts";
import type { FleetSettings } from "./fleet-settings.ts";

/** The PKI secrets engine, and the role that nodes' certificates are signed with. */
export type WantedPki = {
  /** The way from the namespace of the login, as of a key. */
  readonly prefix: string;
  readonly mount: string;
  readonly role: string;
  readonly trustDomain: string;
  /** The life of the certificates that the service asks for, seconds. */
  readonly lifetime: number;
};

/** Where the documents of tokens, or of approvals, stand: KV version 2. */
export type WantedStore = { readonly prefix: string; readonly mount: string; readonly path: string };

export type WantedFleet = {
  readonly registry: WantedRegistry | undefined;
  readonly tokens: WantedStore | undefined;
  readonly approvals: WantedStore | undefined;
  readonly pki: WantedPki | undefined;
  /** Those that are rotated, and the integrity key. */
  readonly keys: readonly WantedKey[];
};

type Store = FleetSettings["tokens"] | NonNullable<FleetSettings["approvals"]>["store"];

const dayMs = 86_400_000;

/** What of one backend the service uses. @param login the namespace that it logs in to */
export function wantedFleet(
  { registry, tokens, approvals, certificates: { ca, lifetime = dayMs }, trustDomain, integrity }: FleetSettings,
  records: readonly ClusterRecord[],
  backend: string,
  login: string | undefined,
): WantedFleet {
  const isHere = (one: { readonly kind: string; readonly backend?: string }): boolean =>
    one.kind === "vault" && one.backend === backend;
  const storeOf = (what: string, store: Store): WantedStore | undefined =>
    store.kind === "vault" && isHere(store)
      ? { prefix: prefixOf(`${what} ${store.mount}`, store.namespace, login), mount: store.mount, path: store.path }
      : undefined;
  return {
    registry: wantedRegistry(registry, backend, login),
    tokens: storeOf("tokens", tokens),
    approvals: approvals && storeOf("approvals.store", approvals.store),
    pki:
      ca.kind === "vault" && isHere(ca)
        ? {
            prefix: prefixOf(`certificates.ca ${ca.mount}`, ca.namespace, login),
            mount: ca.mount,
            role: ca.role,
            trustDomain,
            lifetime: Math.round(lifetime / 1000),
          }
        : undefined,
    keys: wantedKeys({
      records,
      backend,
      login,
      ...(integrity === undefined ? {} : { integrity: integrityRef(integrity) }),
    }),
  };
}

export function pkiAt({ prefix, mount }: WantedPki): string {
  return `${prefix}${mount}`;
}

/** What its documents stand below. */
export function storePath({ prefix, mount, path }: WantedStore): string {
  return `${prefix}${mount}/data/${path}`;
}

/** What they are deleted below, with all their versions. */
export function storeMetadata({ prefix, mount, path }: WantedStore): string {
  return `${prefix}${mount}/metadata/${path}`;
}

/** Where they are listed. */
export function storeList({ prefix, mount, path }: WantedStore): string {
  return `${prefix}${mount}/metadata/${path}/`;
}
