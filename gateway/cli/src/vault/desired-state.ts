// What a Vault must hold so that the gateway can serve the registry's clusters, derived from
// registry and configuration alone. (docs/architecture.md #vault.)
import type { KeyRef } from "@claviger/gateway-core/src/backend/port.ts";
import { keyPath } from "@claviger/gateway-core/src/key/key-id.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { VaultRegistryConfig } from "@claviger/gateway-core/src/registry/vault.ts";
import { CliError } from "../commander.ts";

/** One Transit key. */
export type WantedKey = {
  /**
   * The way from the namespace that the gateway logs in to, down to the key's: "" or "below/".
   * Stands before each path.
   */
  readonly prefix: string;
  readonly mount: string;
  readonly name: string;
  /**
   * `integrity`: only makes HMACs, under which gateways believe what Redis says.
   * (docs/architecture.md #keys.)
   */
  readonly use: "data" | "integrity";
  /** Some cluster encrypts with it; false: it stands under `previousKeys` only and may just decrypt. */
  readonly encrypts: boolean;
  /**
   * Some cluster rotates by itself: the gateway promotes, and rotates once more after a restore
   * from a backup.
   */
  readonly auto: boolean;
  readonly clusters: readonly string[];
};

/** The way from the namespace of a login down to another one; undefined where that is not below it. */
export function wayDown(namespace: string | undefined, login: string | undefined): string | undefined {
  if (namespace === login) return "";
  if (login === undefined) return `${namespace}/`;
  return namespace?.startsWith(`${login}/`) === true ? `${namespace.slice(login.length + 1)}/` : undefined;
}

/** The way down to a namespace. @throws CliError where it is not below the login's */
export function prefixOf(what: string, namespace: string | undefined, login: string | undefined): string {
  const prefix = wayDown(namespace ?? login, login);
  if (prefix !== undefined) return prefix;
  throw new CliError(
    `${what}: namespace ${namespace} is not below ${login}, where the login is; no policy there can reach it`,
  );
}

/** The keys of one backend: those of the clusters, and the one that Redis needs. */
export function wantedKeys({
  records,
  integrity,
  backend,
  login,
}: {
  readonly records: readonly ClusterRecord[];
  readonly integrity?: KeyRef;
  readonly backend: string;
  /** The namespace that the gateway logs in to. */
  readonly login: string | undefined;
}): readonly WantedKey[] {
  const found = new Map<string, WantedKey>();
  const add = (cluster: ClusterRecord, ref: KeyRef, encrypts: boolean): void => {
    if (ref.backend !== backend) return;
    const prefix = prefixOf(keyPath(ref), ref.namespace, login);
    const path = `${prefix}${ref.mount}/${ref.key}`;
    const earlier = found.get(path);
    found.set(path, {
      prefix,
      mount: ref.mount,
      name: ref.key,
      use: "data",
      encrypts: encrypts || earlier?.encrypts === true,
      auto: (encrypts && cluster.rotation === "auto") || earlier?.auto === true,
      clusters: [...new Set([...(earlier?.clusters ?? []), cluster.name])],
    });
  };
  for (const record of records) {
    for (const ref of record.keys) add(record, ref, true);
    for (const ref of record.previousKeys) add(record, ref, false);
  }
  if (integrity?.backend !== backend) return [...found.values()];
  const prefix = prefixOf(keyPath(integrity), integrity.namespace, login);
  const path = `${prefix}${integrity.mount}/${integrity.key}`;
  if (found.has(path)) throw new CliError(`integrity: ${path} is a cluster's key; give it one of its own`);
  return [
    ...found.values(),
    {
      prefix,
      mount: integrity.mount,
      name: integrity.key,
      use: "integrity",
      encrypts: false,
      auto: false,
      clusters: [],
    },
  ];
}

/** Where a key's mount is, as a path from the login's namespace. */
export function mountOf({ prefix, mount }: WantedKey): string {
  return `${prefix}${mount}`;
}

/** The one call that an integrity key serves. */
export function hmacPath(key: WantedKey): string {
  return `${mountOf(key)}/hmac/${key.name}/sha2-256`;
}

/** Where the gateways read the registry, when it lies in this Vault: KV version 2. */
export type WantedRegistry = {
  /** As of a key. */
  readonly prefix: string;
  readonly mount: string;
  readonly path: string;
};

export function registryMount({ prefix, mount }: WantedRegistry): string {
  return `${prefix}${mount}`;
}
export function registryPath(registry: WantedRegistry): string {
  return `${registryMount(registry)}/data/${registry.path}`;
}

/** Where the clusters' documents are listed. */
export function registryList(registry: WantedRegistry): string {
  return `${registryMount(registry)}/metadata/${registry.path}/clusters/`;
}

/** The registry, where it lies in this backend. */
export function wantedRegistry(
  config: { readonly kind: "file" | "directory" } | VaultRegistryConfig,
  backend: string,
  login: string | undefined,
): WantedRegistry | undefined {
  if (config.kind !== "vault" || config.backend !== backend) return undefined;
  const { namespace, mount, path } = config;
  return { prefix: prefixOf(`registry ${mount}`, namespace, login), mount, path };
}
