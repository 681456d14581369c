// A fleet's registry and keys, opened with the operator's own credentials and never the gateway's:
// that one may not rotate. A command connects to what it asks, and to nothing else.
import { backendName } from "@claviger/proto/wire/names.ts";
import type { Secret } from "@claviger/proto/runtime/secret.ts";
import type { VaultConfig } from "@claviger/gateway-core/src/backend/config.ts";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import { refId } from "@claviger/gateway-core/src/key/key-id.ts";
import { announceKey, announceRegistry } from "@claviger/gateway-core/src/redis/channels.ts";
import type { Documents, KeyRef, OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { silentLog } from "@claviger/proto/runtime/log.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { inWords, type Place } from "./backend-failure.ts";
import { CliError, type Terminal } from "./commander.ts";
import { asOperator, operatorToken } from "./operator.ts";
import { type FleetOptions, type FleetSettings, findTarget, type Target } from "./target.ts";
import { openVaultAccess } from "./vault/access.ts";
import type { VaultControl } from "./vault/control.ts";
import { type RegistryEditor, textEditor } from "@claviger/gateway-core/src/registry/edit/editor.ts";
import { directoryEditor } from "@claviger/gateway-core/src/registry/edit/directory.ts";
import { fileSource } from "@claviger/gateway-core/src/registry/edit/source.ts";
import { type VaultEditor, vaultEditor } from "@claviger/gateway-core/src/registry/edit/vault.ts";

/** A backend of kind vault, under its name. */
export type VaultBackend = { readonly name: string; readonly config: VaultConfig };

export type Fleet = {
  /** What messages call it. */
  readonly name: string;
  readonly config: FleetSettings;
  readonly registry: RegistryEditor & Partial<Pick<VaultEditor, "upgrade">>;
  /** Second listeners of the gateways whose configuration is at hand, or which a context names. */
  readonly gateways: readonly URL[];
  /** The etcds of clusters that a context names. */
  readonly etcd: NonNullable<Target["etcd"]>;
  /**
   * A cluster's record and the backend of its key, opened for the time of `use` with the operator's
   * credentials.
   */
  withKey<T>(cluster: string, use: (record: ClusterRecord, backend: OpenBackend) => Promise<T>): Promise<T>;
  /** A backend by its name, likewise. `explain` puts an error into words that does not end `use`. */
  withBackend<T>(
    name: string,
    use: (backend: OpenBackend, explain: (error: unknown) => unknown) => Promise<T>,
  ): Promise<T>;
  /** Tells the gateways that a key has changed, where they have a Redis that can be reached. Never rejects. */
  announceKey(key: KeyRef): Promise<void>;
  /** The Vault of a backend: with the operator's token, and a way to try another one. */
  withVault<T>(
    config: VaultBackend,
    use: (vault: { readonly control: VaultControl; readonly open: (token: Secret) => VaultControl }) => Promise<T>,
  ): Promise<T>;
};

function documentsOf({ name, documents }: OpenBackend): Documents {
  if (documents === undefined)
    throw new CliError(`backend ${name} keeps no documents; the registry needs one of kind vault`);
  return documents;
}

/** Every name is one of a backend that the command may not know. */
const anyBackend = { has: () => true };

function noBackend(name: string, { name: where, settings, isOneVault }: Target): CliError {
  const [one = ""] = Object.keys(settings.backends);
  return new CliError(
    isOneVault
      ? `this needs backend ${name}, and VAULT_ADDR stands for backend ${one}: if it is that of ${name}, set CLAVIGER_BACKEND=${name}; a context can have both`
      : `there is no backend ${name} in ${where}`,
  );
}

/** @throws ConfigError or CliError when the fleet cannot be found or read */
export function openFleet(options: FleetOptions, terminal: Terminal): Fleet {
  return openTarget(findTarget(options, terminal), terminal);
}

/** A fleet that has been found. */
export function openTarget(target: Target, terminal: Terminal): Fleet {
  const { settings, tokenFile, isOwn } = target;
  // Errors are thrown and printed once; log lines are for a gateway's operators.
  const log = silentLog;
  const vaultOf = (name: string, config: VaultConfig) => {
    const { token, from } = operatorToken(name, config.addresses, tokenFile, terminal);
    const own = asOperator(config, isOwn, terminal);
    const place: Place = { name, config: own, caSetting: target.caSetting(name), token: from };
    return { own, token, place };
  };
  const withBackend: Fleet["withBackend"] = async (name, use) => {
    const config = backendName.is(name) ? settings.backends[name] : undefined;
    if (config === undefined) throw noBackend(name, target);
    const vault = config.kind === "vault" ? vaultOf(name, config) : undefined;
    const place: Place = vault?.place ?? { name, config, caSetting: "", token: undefined };
    try {
      const backend = await openBackend({ name, config: place.config, log, ...(vault && { token: vault.token }) });
      try {
        return await use(backend, (error) => inWords(error, place));
      } finally {
        await backend.close();
      }
    } catch (error) {
      throw inWords(error, place);
    }
  };
  const backends = target.isOneVault ? anyBackend : new Set(Object.keys(settings.backends));
  const { registry: where } = target;
  const { redis } = settings;
  const editor = (): Fleet["registry"] => {
    switch (where.kind) {
      case "file":
        return textEditor(fileSource({ file: where.file, backends }));
      case "directory":
        return directoryEditor({ directory: where.directory, backends });
      case "vault":
        return vaultEditor({
          config: where,
          backends,
          withDocuments: (use) => withBackend(where.backend, (backend) => use(documentsOf(backend))),
          announce: () => (redis === undefined ? Promise.resolve() : announceRegistry(redis, log)),
        });
    }
  };
  const registry = editor();
  return {
    name: target.name,
    config: settings,
    registry,
    gateways: target.gateways,
    etcd: target.etcd ?? {},
    withBackend,
    announceKey: async (key) => {
      if (redis !== undefined) await announceKey(redis, refId(key), log);
    },
    withKey: async (cluster, use) => {
      const record = await registry.one(cluster);
      return await withBackend(record.keys[0]?.backend ?? "", (backend) => use(record, backend));
    },
    withVault: async ({ name, config }, use) => {
      const { own, token, place } = vaultOf(name, config);
      try {
        const access = openVaultAccess(own);
        try {
          return await use({ control: access.open(token), open: access.open });
        } finally {
          await access.close();
        }
      } catch (error) {
        throw inWords(error, place);
      }
    },
  };
}
