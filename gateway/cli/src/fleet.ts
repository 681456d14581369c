// Where a fleet's registry and keys are, and with whose credentials a command goes there: from
// --lab or --config. The operator's own Vault token is used, never the gateway's: that one may not
// rotate.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { checkConfig, parseYaml, z } from "@claviger/proto/runtime/config.ts";
import { backendName } from "@claviger/proto/wire/names.ts";
import { Secret } from "@claviger/proto/runtime/secret.ts";
import type { VaultConfig } from "@claviger/gateway-core/src/backend/config.ts";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import { announceRegistry } from "@claviger/gateway-core/src/redis/registry-channel.ts";
import type { Documents, OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { type GatewayConfig, loadGatewayConfig } from "@claviger/gateway-core/src/config.ts";
import { createLog, type Log } from "@claviger/proto/runtime/log.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { inWords, type Place } from "./backend-failure.ts";
import { CliError, type Command, type Terminal } from "./commander.ts";
import { fileProblem } from "./outside.ts";
import { openVaultAccess } from "./vault/access.ts";
import type { VaultControl } from "./vault/control.ts";
import { readRegistry, recordOf, toYaml } from "./registry-edit.ts";
import { fileSource, type RegistrySource, vaultSource } from "./registry-source.ts";

export type FleetOptions = { readonly config?: string; readonly lab?: string };

/** A backend of kind vault, under its name. */
export type VaultBackend = { readonly name: string; readonly config: VaultConfig };

export type Fleet = {
  readonly config: GatewayConfig;
  readonly registry: RegistrySource;
  /** Second listeners of the gateways whose configuration is at hand. */
  readonly gateways: readonly URL[];
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
  /** The Vault of a backend: with the operator's token, and a way to try another one. */
  withVault<T>(
    config: VaultBackend,
    use: (vault: { readonly control: VaultControl; readonly open: (token: Secret) => VaultControl }) => Promise<T>,
  ): Promise<T>;
};

/** Adds the options that say which fleet. */
export function fleetOptions(command: Command): Command {
  return command
    .option(
      "--config <file>",
      "a gateway's configuration: says where the registry and the keys are (default: $CLAVIGER_CONFIG)",
    )
    .option("--lab <file>", "lab.json of a running lab, instead of --config");
}

// What this command reads of a lab.json; other fields are ignored.
const labFile = z.object({
  gateways: z.array(z.object({ config: z.string() })).check(z.minLength(1, { error: "must list a gateway" })),
  vault: z.optional(z.nullable(z.object({ addr: z.string(), tokenFile: z.string() }))),
});

type Source = {
  readonly configFile: string;
  /** Of further gateways, in a lab. */
  readonly others: readonly string[];
  readonly tokenFile?: string;
};

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new CliError(`${file} cannot be read (${fileProblem(error)})`);
  }
}

function sourceOf({ config, lab }: FleetOptions, { env }: Terminal): Source {
  if (config !== undefined && lab !== undefined) throw new CliError("give --config or --lab, not both");
  if (lab !== undefined) {
    const { gateways, vault } = checkConfig(lab, parseYaml(lab, readText(lab)), labFile);
    const [configFile = "", ...others] = gateways.map((gateway) => gateway.config);
    const tokenFile = vault?.tokenFile;
    return { configFile, others, ...(tokenFile !== undefined && { tokenFile }) };
  }
  const file = config ?? env["CLAVIGER_CONFIG"];
  if (file === undefined || file === "")
    throw new CliError("give --config FILE (a gateway's configuration) or --lab FILE (a running lab)");
  return { configFile: file, others: [] };
}

/** Where a gateway's second listener is for who is on its machine; none when the port is any. */
function secondListener({ admin: { address, port } }: GatewayConfig): readonly URL[] {
  const loopback: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "[::1]" };
  const host = loopback[address] ?? (address.includes(":") ? `[${address}]` : address);
  return port === 0 ? [] : [new URL(`http://${host}:${port}`)];
}

function sameOrigin(a: string, b: string): boolean {
  return URL.canParse(a) && URL.canParse(b) && new URL(a).origin === new URL(b).origin;
}

/** A token, and where it came from. */
type OwnToken = { readonly token: Secret; readonly from: string };

/** The operator's own token, for a Vault at one of these addresses. */
function operatorToken(name: string, addresses: readonly string[], source: Source, { env, home }: Terminal): OwnToken {
  const fromFile = (file: string): OwnToken => {
    const text = readText(file).trim();
    if (text === "") throw new CliError(`${file} is empty; log in again (vault login, bao login)`);
    return { token: new Secret(text), from: file };
  };
  if (source.tokenFile !== undefined) return fromFile(source.tokenFile);
  const address = env["VAULT_ADDR"];
  // A token belongs to one Vault: sending it to another would give it away.
  if (address !== undefined && address !== "" && !addresses.some((known) => sameOrigin(known, address)))
    throw new CliError(
      `VAULT_ADDR is not an address of backend ${name} (${addresses.join(", ")}); set it to the one that your token is for, or unset it`,
    );
  const token = env["VAULT_TOKEN"];
  if (token !== undefined && token !== "") return { token: new Secret(token), from: "VAULT_TOKEN" };
  const file = join(home, ".vault-token");
  if (!existsSync(file))
    throw new CliError(
      `backend ${name} needs your own Vault token: set VAULT_TOKEN, or log in (vault login) so that ~/.vault-token is there`,
    );
  return fromFile(file);
}

/**
 * The gateway's client certificate stays the gateway's: an operator shows their own, where the Vault
 * wants one, under the names that the vault command reads.
 */
function asOperator(vault: VaultConfig, { env }: Terminal): VaultConfig {
  const { cert: _, key: __, ...tls } = vault.tls ?? {};
  const [cert, key] = [env["VAULT_CLIENT_CERT"], env["VAULT_CLIENT_KEY"]];
  const isGiven = (file: string | undefined): file is string => file !== undefined && file !== "";
  if (isGiven(cert) !== isGiven(key))
    throw new CliError("VAULT_CLIENT_CERT and VAULT_CLIENT_KEY go together: only one of them is set");
  const own = isGiven(cert) && isGiven(key) ? { cert, key } : {};
  return { ...vault, tls: { ...tls, ...own } };
}

/** Errors are thrown and printed once; log lines are for a gateway's operators. */
export function silentLog(): Log {
  const log = createLog("claviger", "error");
  log.level = "silent";
  return log;
}

function documentsOf({ name, documents }: OpenBackend): Documents {
  if (documents === undefined)
    throw new CliError(`backend ${name} keeps no documents; the registry needs one of kind vault`);
  return documents;
}

/** @throws ConfigError or CliError when the fleet cannot be found or read */
export function openFleet(options: FleetOptions, terminal: Terminal): Fleet {
  const source = sourceOf(options, terminal);
  const config = loadGatewayConfig(source.configFile);
  const log = silentLog();
  const withBackend: Fleet["withBackend"] = async (name, use) => {
    const backendConfig = backendName.is(name) ? config.backends[name] : undefined;
    if (backendConfig === undefined) throw new CliError(`there is no backend ${name} in ${source.configFile}`);
    // The gateway's own addresses, the operator's own token.
    const isVault = backendConfig.kind === "vault";
    const own = isVault ? operatorToken(name, backendConfig.addresses, source, terminal) : undefined;
    const asOwn = isVault ? asOperator(backendConfig, terminal) : backendConfig;
    const place: Place = { name, config: asOwn, settings: source.configFile, token: own?.from };
    try {
      const backend = await openBackend({ name, config: asOwn, log, ...(own !== undefined && { token: own.token }) });
      try {
        return await use(backend, (error) => inWords(error, place));
      } finally {
        await backend.close();
      }
    } catch (error) {
      throw inWords(error, place);
    }
  };
  const backends = new Set(Object.keys(config.backends));
  const { registry: where, redis } = config;
  const registry =
    where.kind === "file"
      ? fileSource({ file: where.file, backends })
      : vaultSource({
          config: where,
          backends,
          withDocuments: (use) => withBackend(where.backend, (backend) => use(documentsOf(backend))),
          announce: () => (redis === undefined ? Promise.resolve() : announceRegistry(redis, log)),
          toYaml,
        });
  return {
    config,
    registry,
    gateways: [config, ...source.others.map((file) => loadGatewayConfig(file))].flatMap(secondListener),
    withBackend,
    withKey: async (cluster, use) => {
      const record = recordOf(await readRegistry(registry), cluster);
      return await withBackend(record.keys[0]?.backend ?? "", (backend) => use(record, backend));
    },
    withVault: async ({ name, config: vault }, use) => {
      const own = operatorToken(name, vault.addresses, source, terminal);
      const config = asOperator(vault, terminal);
      try {
        const access = openVaultAccess(config);
        try {
          return await use({ control: access.open(own.token), open: access.open });
        } finally {
          await access.close();
        }
      } catch (error) {
        throw inWords(error, { name, config, settings: source.configFile, token: own.from });
      }
    },
  };
}
