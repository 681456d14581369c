// Where a command goes: through the fleet service, or straight to the registry and the Vaults with the
// operator's own token. (docs/control-plane.md #commands.)
import { existsSync } from "node:fs";
import { type Command, CliError, Exit, type Terminal } from "./commander.ts";
import { type Context, contextOf, holdsContexts, readContexts } from "./contexts.ts";
import { type ClientOptions, identityOptions } from "./fleet-client.ts";
import { readTextFile } from "./outside.ts";
import { defaultContexts, type FleetOptions, fleetOptions } from "./target.ts";

export type SiteOptions = FleetOptions &
  ClientOptions & {
    readonly direct: boolean;
    readonly reason?: string;
  };

/** Adds the options that say where a command goes, and who asks. */
export function siteOptions(command: Command, keyOption?: string): Command {
  return identityOptions(fleetOptions(command), keyOption).option(
    "--direct",
    "past the fleet service, with your own Vault token (default where the context names no fleet service)",
    false,
  );
}

/** The same for a command that changes something. */
export function changeOptions(command: Command, keyOption?: string): Command {
  return siteOptions(command, keyOption)
    .option("--reason <text>", "why, for the audit record of the fleet service, which needs it")
    .option("--dry-run", "say what would be changed and change nothing", false);
}

/** The context that is meant, where contexts are what is meant. */
function contextIn({ config, context }: SiteOptions, terminal: Terminal) {
  const given = (name: string): string | undefined => (terminal.env[name] === "" ? undefined : terminal.env[name]);
  const [file, name] = [config ?? given("CLAVIGER_CONFIG"), context ?? given("CLAVIGER_CONTEXT")];
  // As findTarget does: VAULT_ADDR with a registry stands before contexts that nobody has named.
  if (file === undefined && name === undefined && given("VAULT_ADDR") !== undefined && given("CLAVIGER_REGISTRY"))
    return undefined;
  const contexts = file ?? defaultContexts(terminal);
  if (!existsSync(contexts) || !holdsContexts(contexts, readTextFile(contexts))) return undefined;
  return contextOf(contexts, readContexts(contexts), name)[1];
}

/** Does the command go through the fleet service? @throws CliError */
export function isThroughService(options: SiteOptions, terminal: Terminal): boolean {
  if (options.direct && options.fleet !== undefined) throw new CliError("give --fleet or --direct, not both");
  if (options.direct || options.lab !== undefined || options.registry !== undefined) return false;
  return options.fleet !== undefined || contextIn(options, terminal)?.fleet !== undefined;
}

/** Does it go through the fleet service because the command knows nothing else? @throws CliError */
export function isServiceAlone(options: SiteOptions, terminal: Terminal): boolean {
  if (!isThroughService(options, terminal)) return false;
  const named = options.fleet === undefined ? contextIn(options, terminal) : undefined;
  return named === undefined || (named.config === undefined && named.registry === undefined);
}

/** Second listeners of the gateways that the context names. */
export function gatewaysIn(options: SiteOptions, terminal: Terminal): readonly URL[] {
  const named = options.fleet === undefined ? contextIn(options, terminal)?.gateways : undefined;
  return (named ?? []).map((url) => new URL(url));
}

/** The etcds of clusters that the context names. */
export function etcdsIn(options: SiteOptions, terminal: Terminal): NonNullable<Context["etcd"]> {
  return (options.fleet === undefined ? contextIn(options, terminal)?.etcd : undefined) ?? {};
}

/** Why; ends the command where it is not said. */
export function reasonOf({ reason }: SiteOptions, terminal: Terminal): string {
  if (reason !== undefined) return reason;
  terminal.err("error: required option '--reason <text>' not specified: it stands in the audit record");
  terminal.err("(add --help for the options)");
  throw new Exit(2);
}
