// Keys that lie in reach of a backend's login and are not for its gateways: those of other cells, and of
// other backends of the same Vault. (docs/architecture.md #cells.)
import type { BackendConfig, VaultConfig } from "@claviger/gateway-core/src/backend/config.ts";
import type { KeyRef } from "@claviger/gateway-core/src/backend/port.ts";
import type { Serves } from "@claviger/gateway-core/src/registry/labels.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { CliError } from "../commander.ts";
import { mountOf, wayDown, type WantedKey } from "./desired-state.ts";
import { isCovered } from "./policy.ts";

/** A key as a path from the namespace of the login. */
export type ForeignKey = { readonly at: string; readonly name: string; readonly cluster: string };

type Backends = Readonly<Record<string, BackendConfig>>;

/** Do two backends speak to one Vault? */
function isSameVault(a: VaultConfig, b: VaultConfig): boolean {
  return a.addresses.some((address) => b.addresses.includes(address));
}

function vaultOf(backends: Backends, name: string): VaultConfig | undefined {
  const config = backends[name];
  return config?.kind === "vault" ? config : undefined;
}

/** Other backends whose logins are in the same namespace of the same Vault. */
export function sharingBackends(backends: Backends, name: string): readonly string[] {
  const own = vaultOf(backends, name);
  return Object.keys(backends).filter((other) => {
    const config = vaultOf(backends, other);
    return (
      other !== name &&
      own !== undefined &&
      config !== undefined &&
      isSameVault(own, config) &&
      own.namespace === config.namespace
    );
  });
}

/**
 * The keys of the registry that are not the backend's, or are of clusters that are not served, and that a
 * policy of its login could open.
 * @param wanted what the backend's gateways use
 */
export function foreignKeys({
  records,
  backends,
  backend,
  serves,
  wanted,
}: {
  readonly records: readonly ClusterRecord[];
  readonly backends: Backends;
  readonly backend: string;
  readonly serves: Serves;
  readonly wanted: readonly WantedKey[];
}): readonly ForeignKey[] {
  const own = vaultOf(backends, backend);
  const used = new Set(wanted.map((key) => `${mountOf(key)}/${key.name}`));
  const found = new Map<string, ForeignKey>();
  const add = (cluster: ClusterRecord, ref: KeyRef): void => {
    const config = vaultOf(backends, ref.backend);
    if (config === undefined || own === undefined || !isSameVault(own, config)) return;
    const prefix = wayDown(ref.namespace ?? config.namespace, own.namespace);
    if (prefix === undefined) return;
    const at = `${prefix}${ref.mount}`;
    const path = `${at}/${ref.key}`;
    if (!used.has(path)) found.set(path, { at, name: ref.key, cluster: cluster.name });
  };
  for (const record of records)
    for (const ref of [...record.keys, ...record.previousKeys])
      if (ref.backend !== backend || !serves(record)) add(record, ref);
  return [...found.values()];
}

const shown = 5;

/**
 * Lines for a prefix let gateways read, promote and rotate every key of the mount.
 * @throws CliError where others' keys are in it
 */
export function assertOwnMount(
  wanted: readonly WantedKey[],
  foreign: readonly ForeignKey[],
  prefix: string | undefined,
): void {
  const mounts = new Set(wanted.filter((key) => isCovered(key, prefix)).map(mountOf));
  const there = foreign.filter(({ at }) => mounts.has(at));
  if (there.length === 0) return;
  const names = [...new Set(there.map(({ cluster }) => cluster))];
  const more = names.length > shown ? ` and ${names.length - shown} more` : "";
  throw new CliError(
    `--key-prefix opens all of ${[...new Set(there.map(({ at }) => at))].join(", ")}, where keys of clusters are that these gateways do not serve or that another backend serves (${names.slice(0, shown).join(", ")}${more}): give each cell a mount or a namespace of its own, or leave --key-prefix out`,
  );
}
