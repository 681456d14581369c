// `claviger cluster export`, `import` and `remove`: records leave a registry and enter another, with
// their uids.
import { type Command, several, type Terminal } from "./commander.ts";
import { type EditOptions, gatewayHelp, gatewaysOf, keyText } from "./cluster-options.ts";
import { openFleet } from "./fleet.ts";
import { type FleetOptions, fleetOptions } from "./target.ts";
import { waitForGateways } from "./gateway-word.ts";
import { readTextFile } from "./outside.ts";
import { keyOf } from "@claviger/gateway-core/src/registry/edit/text.ts";
import { importRecords, printRegistry } from "./registry-move.ts";

function clusters(count: number): string {
  return count === 1 ? "1 cluster" : `${count} clusters`;
}

type ImportOptions = EditOptions & { readonly dryRun: boolean };

async function importFile(file: string, options: ImportOptions, terminal: Terminal): Promise<void> {
  const fleet = openFleet(options, terminal);
  const gateways = gatewaysOf(options, fleet);
  const { dryRun } = options;
  const { added, present, version } = await importRecords(fleet.registry, {
    source: file,
    text: readTextFile(file),
    dryRun,
  });
  for (const { name, uid } of present) terminal.out(`  present  ${name}  ${uid}`);
  for (const { name, uid } of added) terminal.out(`  ${dryRun ? "new    " : "added  "}  ${name}  ${uid}`);
  const { name: where } = fleet.registry;
  if (dryRun) terminal.out(`${clusters(added.length)} to add to ${where}; nothing was changed (--dry-run).`);
  else if (added.length === 0) terminal.out(`Nothing was changed: ${where} has all of them.`);
  else {
    terminal.out(`${clusters(added.length)} added to ${where}, each with its uid.`);
    terminal.out(await waitForGateways(gateways, version));
  }
}

async function remove(
  name: string,
  options: EditOptions & { readonly yes: boolean },
  terminal: Terminal,
): Promise<void> {
  const fleet = openFleet(options, terminal);
  const gateways = gatewaysOf(options, fleet);
  const record = await fleet.registry.one(name);
  terminal.out(
    `${printRegistry(new Map([[record.name, record]]))}
Without this record the gateways refuse ${name}: its apiservers' writes stop within three minutes, and one that restarts
reads nothing encrypted. Its key stays in Vault: ${keyText(keyOf(record))}.
The uid ${record.uid} never stands under another name, and a cluster that is added as ${name} later has another one:
only this very record reads what was encrypted under it. Keep it for as long as you keep backups of that etcd;
'claviger cluster import FILE' takes it back from a file of the lines above.`,
  );
  if (!options.yes) return terminal.out("Nothing was changed. To remove it, run this again with --yes.");
  const { version } = await fleet.registry.remove(name);
  terminal.out(
    `${name} is removed from ${fleet.registry.name}. Next: claviger vault init --yes, which takes its key out of the policy.`,
  );
  terminal.out(await waitForGateways(gateways, version));
}

/** Adds the three commands to `claviger cluster`. */
export function addRegistryCommands(group: Command, terminal: Terminal): void {
  fleetOptions(group.command("export"))
    .description("print the registry as a file of it reads, every record with its uid")
    .action(async (options: FleetOptions) =>
      terminal.out(printRegistry(await openFleet(options, terminal).registry.all()).trimEnd()),
    );

  fleetOptions(group.command("import"))
    .argument("<file>", "what 'cluster export' printed")
    .description("add a file's clusters with their uids; changes none that is there, and may be repeated")
    .option("--gateway <url>", gatewayHelp, several)
    .option("--dry-run", "say what would be added and change nothing", false)
    .action((file: string, options: ImportOptions) => importFile(file, options, terminal));

  fleetOptions(group.command("remove"))
    .argument("<cluster>")
    .description("take a cluster out of the registry, and print the record that would bring it back")
    .option("--gateway <url>", gatewayHelp, several)
    .option("--yes", "do it; without this it only says what would follow", false)
    .action((cluster: string, options: EditOptions & { readonly yes: boolean }) => remove(cluster, options, terminal));
}
