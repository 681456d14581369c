// `claviger registry upgrade`: from the one document of 0.1.0 to a document for each cluster.
import { CliError, type Command, several, type Terminal } from "./commander.ts";
import { type EditOptions, gatewayHelp, gatewaysOf } from "./cluster-options.ts";
import { openFleet } from "./fleet.ts";
import { addDiffCommand } from "./registry-diff-command.ts";
import { fleetOptions } from "./target.ts";
import { waitForGateways } from "./gateway-word.ts";

async function upgrade(options: EditOptions, terminal: Terminal): Promise<void> {
  const fleet = openFleet(options, terminal);
  const { registry } = fleet;
  const gateways = gatewaysOf(options, fleet);
  if (registry.upgrade === undefined)
    throw new CliError(`${registry.name} is a file; only a registry in Vault has another form since 0.1.0`);
  const { written, present, isMoved, version } = await registry.upgrade();
  if (written.length > 0) terminal.out(`written: ${written.join(", ")}`);
  if (present.length > 0) terminal.out(`there already: ${present.length}`);
  terminal.out(
    isMoved
      ? `${registry.name}: each of ${written.length + present.length} clusters has a document of its own, with its uid. The one document says so; Vault keeps its earlier versions.`
      : `${registry.name}: each cluster has a document of its own already; documents of uids that were missing are there now.`,
  );
  terminal.out(await waitForGateways(gateways, version));
}

/** Adds `claviger registry`. */
export function addUpgradeCommand(root: Command, terminal: Terminal): void {
  const group = root.command("registry").description("where the clusters' records lie");
  addDiffCommand(group, terminal);
  fleetOptions(group.command("upgrade"))
    .description("move the one document of 0.1.0 into a document for each cluster; safe to run again")
    .option("--gateway <url>", gatewayHelp, several)
    .action((options: EditOptions) => upgrade(options, terminal));
}
