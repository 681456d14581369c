// Which fleet a command is for: a running lab, a gateway's configuration, a context of the operator's,
// or the Vault that VAULT_ADDR names, as the vault command has it.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { checkConfig, parseYaml, z } from "@claviger/proto/runtime/config.ts";
import { backendName } from "@claviger/proto/wire/names.ts";
import type { VaultConfig } from "@claviger/gateway-core/src/backend/config.ts";
import { backendSchema } from "@claviger/gateway-core/src/backend/config.ts";
import { type GatewayConfig, loadGatewayConfig } from "@claviger/gateway-core/src/config.ts";
import { CliError, type Command, type Terminal } from "./commander.ts";
import { type Context, contextOf, holdsContexts, ownLogin, parseRegistryRef, readContexts } from "./contexts.ts";
import { readTextFile } from "./outside.ts";

export type FleetOptions = {
  readonly config?: string;
  readonly lab?: string;
  readonly context?: string;
  readonly registry?: string;
};

/** What a command knows of a fleet. */
export type FleetSettings = Pick<GatewayConfig, "backends" | "registry" | "redis" | "integrity" | "serves"> & {
  /** Where a gateway's configuration is at hand. */
  readonly keys?: GatewayConfig["keys"];
};

export type Target = {
  readonly settings: FleetSettings;
  /** The registry that the command reads and edits; that of the settings is the one that gateways read. */
  readonly registry: FleetSettings["registry"];
  /** What messages call the place where the settings stand. */
  readonly name: string;
  /** Where the CA of a backend is set, as messages say it. */
  readonly caSetting: (backend: string) => string;
  /** Second listeners of its gateways. */
  readonly gateways: readonly URL[];
  readonly etcd: Context["etcd"];
  /** Where the token is, in a lab; otherwise it is the operator's own. */
  readonly tokenFile?: string;
  /** The client certificates in the settings are the operator's, and not a gateway's. */
  readonly isOwn: boolean;
  /** Only VAULT_ADDR is known: a registry may name other backends besides. */
  readonly isOneVault: boolean;
};

type Found = Omit<Target, "registry">;

/** Adds the options that say which fleet. */
export function fleetOptions(command: Command): Command {
  return command
    .option("--config <file>", "a gateway's configuration, or a file of contexts (default: $CLAVIGER_CONFIG)")
    .option(
      "--context <name>",
      "a context of ~/.config/claviger/config.yaml (default: $CLAVIGER_CONTEXT, or its current one)",
    )
    .option(
      "--registry <where>",
      "kv:MOUNT/PATH or a file; with it and VAULT_ADDR nothing else is needed (default: $CLAVIGER_REGISTRY)",
    )
    .option("--lab <file>", "lab.json of a running lab, instead of --config");
}

// What this command reads of a lab.json; other fields are ignored.
const labFile = z.object({
  gateways: z.array(z.object({ config: z.string() })).check(z.minLength(1, { error: "must list a gateway" })),
  vault: z.optional(z.nullable(z.object({ addr: z.string(), tokenFile: z.string() }))),
});

/** Where a second listener is for who is on its machine. */
export function localUrl({ address, port }: { readonly address: string; readonly port: number }): URL {
  const loopback: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "[::1]" };
  const host = loopback[address] ?? (address.includes(":") ? `[${address}]` : address);
  return new URL(`http://${host}:${port}`);
}

/** None when the port is any. */
function secondListener({ admin }: GatewayConfig): readonly URL[] {
  return admin.port === 0 ? [] : [localUrl(admin)];
}

function fromGateway(file: string, others: readonly string[] = [], tokenFile?: string): Found {
  const settings = loadGatewayConfig(file);
  return {
    settings,
    name: file,
    caSetting: (backend) => `backends.${backend}.tls.ca in ${file}`,
    gateways: [settings, ...others.map((other) => loadGatewayConfig(other))].flatMap(secondListener),
    etcd: undefined,
    ...(tokenFile !== undefined && { tokenFile }),
    isOwn: false,
    isOneVault: false,
  };
}

function fromLab(file: string): Found {
  const { gateways, vault } = checkConfig(file, parseYaml(file, readTextFile(file)), labFile);
  const [configFile = "", ...others] = gateways.map((gateway) => gateway.config);
  return fromGateway(configFile, others, vault?.tokenFile);
}

function fromContext(file: string, wanted: string | undefined): Found {
  const [name, { config, backends = {}, registry, redis, integrity, gateways, etcd }] = contextOf(
    file,
    readContexts(file),
    wanted,
  );
  const urls = gateways?.map((one) => new URL(one));
  if (config !== undefined) {
    const target = fromGateway(config);
    return { ...target, gateways: urls ?? target.gateways, etcd };
  }
  if (registry === undefined)
    throw new CliError(
      `context ${name} of ${file} names a fleet service alone; this command reads the registry itself: add backends and registry to it`,
    );
  return {
    settings: { backends, registry, redis, integrity, serves: undefined },
    name: `context ${name} of ${file}`,
    caSetting: (backend) => `contexts.${name}.backends.${backend}.tls.ca in ${file}`,
    gateways: urls ?? [],
    etcd,
    isOwn: true,
    isOneVault: false,
  };
}

/** The variables of the vault command that say where a Vault is. */
function vaultOf(env: Terminal["env"]): VaultConfig {
  const given = (name: string): string | undefined => (env[name] === "" ? undefined : env[name]);
  if (given("VAULT_SKIP_VERIFY") !== undefined && !/^(?:0|f|false)$/i.test(given("VAULT_SKIP_VERIFY") ?? ""))
    throw new CliError(
      "VAULT_SKIP_VERIFY is set, and a Vault whose certificate is not verified is not spoken to: unset it, and set VAULT_CACERT to the file of its CA",
    );
  const [ca, serverName, namespace] = [given("VAULT_CACERT"), given("VAULT_TLS_SERVER_NAME"), given("VAULT_NAMESPACE")];
  const parsed = checkConfig(
    "the environment",
    {
      kind: "vault",
      addresses: [(given("VAULT_ADDR") ?? "").replace(/\/+$/, "")],
      auth: ownLogin,
      tls: { ...(ca !== undefined && { ca }), ...(serverName !== undefined && { serverName }) },
      ...(namespace !== undefined && { namespace: namespace.replace(/^\/+|\/+$/g, "") }),
    },
    backendSchema,
  );
  if (parsed.kind !== "vault") throw new TypeError("a Vault that is none");
  return parsed;
}

function fromEnvironment(registry: string, env: Terminal["env"]): Found {
  const name = env["CLAVIGER_BACKEND"] ?? "";
  const backend = name === "" ? "main" : name;
  if (!backendName.is(backend)) throw new CliError(`CLAVIGER_BACKEND must be ${backendName.rule}`);
  return {
    settings: {
      backends: { [backend]: vaultOf(env) },
      registry: parseRegistryRef(registry, backend),
      redis: undefined,
      integrity: undefined,
      serves: undefined,
    },
    name: "VAULT_ADDR",
    caSetting: () => "VAULT_CACERT",
    gateways: [],
    etcd: undefined,
    isOwn: true,
    isOneVault: true,
  };
}

/** Where an operator's contexts are, unless $CLAVIGER_CONFIG says another file. */
export function defaultContexts({ env, home }: Pick<Terminal, "env" | "home">): string {
  const above = env["XDG_CONFIG_HOME"] ?? "";
  return join(above === "" ? join(home, ".config") : above, "claviger", "config.yaml");
}

function fromFile(file: string, context: string | undefined): Found {
  // A gateway's configuration that cannot be read or parsed says so itself.
  const isContexts = existsSync(file) && holdsContexts(file, readTextFile(file));
  if (isContexts) return fromContext(file, context);
  if (context !== undefined) throw new CliError(`--context ${context}: ${file} is no file of contexts`);
  return fromGateway(file);
}

/** The fleet that options and environment say. @throws CliError or ConfigError */
export function findTarget({ config, lab, context, registry }: FleetOptions, terminal: Terminal): Target {
  const given = (name: string): string | undefined => (terminal.env[name] === "" ? undefined : terminal.env[name]);
  if (config !== undefined && lab !== undefined) throw new CliError("give --config or --lab, not both");
  const where = registry ?? given("CLAVIGER_REGISTRY");
  const choose = (): Found => {
    if (lab !== undefined) return fromLab(lab);
    const named = context ?? given("CLAVIGER_CONTEXT");
    const file = config ?? given("CLAVIGER_CONFIG");
    if (file !== undefined) return fromFile(file, named);
    const contexts = defaultContexts(terminal);
    if (named !== undefined) return fromContext(contexts, named);
    if (where !== undefined && given("VAULT_ADDR") !== undefined) return fromEnvironment(where, terminal.env);
    if (existsSync(contexts)) return fromContext(contexts, undefined);
    throw new CliError(
      given("VAULT_ADDR") === undefined
        ? "say which fleet: --config FILE (a gateway's configuration), --context NAME, --lab FILE (a running lab), or set VAULT_ADDR and give --registry"
        : "say where the registry is: --registry kv:MOUNT/PATH (in the Vault of VAULT_ADDR) or --registry FILE; or --config FILE, or --context NAME",
    );
  };
  const chosen = choose();
  const target = { ...chosen, registry: chosen.settings.registry };
  if (registry === undefined || target.isOneVault) return target;
  const [first = "main"] = Object.keys(target.settings.backends);
  return { ...target, registry: parseRegistryRef(registry, first) };
}
