// Where a fleet's registry and keys are, and with whose credentials a command goes there: from --lab or --config.
// The operator's own Vault token is used, never the gateway's: that one may not rotate.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { checkConfig, parseYaml, z } from "@claviger/proto/config.ts";
import type { BackendConfig } from "../backend/config.ts";
import { openBackend } from "../backend/open.ts";
import type { OpenBackend } from "../backend/port.ts";
import { type GatewayConfig, loadGatewayConfig } from "../config.ts";
import { createLog } from "../log.ts";
import type { ClusterRecord } from "../registry/record.ts";
import { CliError, type Command, type Terminal } from "./commander.ts";
import { type RegistryFile, readRegistry, recordOf } from "./registry-edit.ts";

export type FleetOptions = { readonly config?: string; readonly lab?: string };

export type Fleet = {
  readonly config: GatewayConfig;
  readonly registry: RegistryFile;
  /** A cluster's record and the backend of its key, opened for the time of `use` with the operator's credentials. */
  withKey<T>(cluster: string, use: (record: ClusterRecord, backend: OpenBackend) => Promise<T>): Promise<T>;
};

/** Adds the options that say which fleet. */
export const fleetOptions = (command: Command): Command =>
  command
    .option("--config <file>", "a gateway's configuration: says where the registry and the keys are (default: $CLAVIGER_CONFIG)")
    .option("--lab <file>", "lab.json of a running lab, instead of --config");

// What this command reads of a lab.json; the rest of it is not our business.
const labFile = z.object({
  gateways: z.array(z.object({ config: z.string() })).check(z.minLength(1, { error: "must list a gateway" })),
  vault: z.optional(z.nullable(z.object({ addr: z.string(), tokenFile: z.string() }))),
});

type Source = { readonly configFile: string; readonly tokenFile?: string };

const readText = (file: string): string => {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new CliError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`);
  }
};

const sourceOf = ({ config, lab }: FleetOptions, { env }: Terminal): Source => {
  if (config !== undefined && lab !== undefined) throw new CliError("give --config or --lab, not both");
  if (lab !== undefined) {
    const { gateways, vault } = checkConfig(lab, parseYaml(lab, readText(lab)), labFile);
    const configFile = gateways[0]?.config ?? "";
    return vault === undefined || vault === null ? { configFile } : { configFile, tokenFile: vault.tokenFile };
  }
  const file = config ?? env["CLAVIGER_CONFIG"];
  if (file === undefined || file === "") throw new CliError("give --config FILE (a gateway's configuration) or --lab FILE (a running lab)");
  return { configFile: file };
};

type VaultConfig = Extract<BackendConfig, { kind: "vault" }>;

const sameOrigin = (a: string, b: string): boolean => URL.canParse(a) && URL.canParse(b) && new URL(a).origin === new URL(b).origin;

/** The backend's own addresses, the operator's own token. */
const asOperator = (name: string, config: VaultConfig, source: Source, { env, home }: Terminal): VaultConfig => {
  if (source.tokenFile !== undefined) return { ...config, auth: { kind: "token-file", file: source.tokenFile } };
  const address = env["VAULT_ADDR"];
  // A token belongs to one Vault: sending it to another would give it away.
  if (address !== undefined && address !== "" && !config.addresses.some((known) => sameOrigin(known, address)))
    throw new CliError(
      `VAULT_ADDR is not an address of backend ${name} (${config.addresses.join(", ")}); set it to the one that your token is for, or unset it`,
    );
  const token = env["VAULT_TOKEN"];
  if (token !== undefined && token !== "") return { ...config, auth: { kind: "token-env", name: "VAULT_TOKEN" } };
  return { ...config, auth: { kind: "token-file", file: join(home, ".vault-token") } };
};

/** @throws ConfigError or CliError when the fleet cannot be found or read */
export const openFleet = (options: FleetOptions, terminal: Terminal): Fleet => {
  const source = sourceOf(options, terminal);
  const config = loadGatewayConfig(source.configFile);
  const registry = { file: config.registry.file, backends: new Set(Object.keys(config.backends)) };
  // What goes wrong is thrown and printed once; the log lines are for a gateway's operators.
  const log = createLog("error");
  log.level = "silent";
  return {
    config,
    registry,
    withKey: async (cluster, use) => {
      const record = recordOf(await readRegistry(registry), cluster);
      const name = record.keys[0]?.backend ?? "";
      const backendConfig = config.backends[name];
      if (backendConfig === undefined) throw new CliError(`backend ${name} is not in ${source.configFile}`);
      const backend = await openBackend({
        name,
        config: backendConfig.kind === "vault" ? asOperator(name, backendConfig, source, terminal) : backendConfig,
        log,
      });
      try {
        return await use(record, backend);
      } finally {
        await backend.close();
      }
    },
  };
};
