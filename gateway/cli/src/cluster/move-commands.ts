// `claviger cluster export`, `import` and `remove`: records leave a registry and enter another, with
// their uids.
import type { Cluster } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { recordOfMessage } from "@claviger/gateway-core/src/registry/cluster-message.ts";
import { keyOf } from "@claviger/gateway-core/src/registry/edit/text.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { gatewayHelp, keyText } from "../cluster-options.ts";
import { CliError, type Command, several, type Terminal } from "../commander.ts";
import { readTextFile } from "../outside.ts";
import { printRegistry } from "../registry-move.ts";
import { changeOptions, siteOptions } from "../site.ts";
import { type ChangeOptions, type ClusterOptions, nothingChanged, waitFor, withClusters } from "./open.ts";

type ImportOptions = ChangeOptions & { readonly restore: boolean };
type RemoveOptions = ChangeOptions & { readonly yes: boolean; readonly force: boolean; readonly etag?: string };

function clusters(count: number): string {
  return count === 1 ? "1 cluster" : `${count} clusters`;
}

function recordOf(cluster: Cluster): ClusterRecord {
  return recordOfMessage({ ...cluster, etag: "" }, () => cluster.uid);
}

function textOf(all: readonly Cluster[]): string {
  return printRegistry(new Map(all.map((cluster) => [recordOf(cluster).name, recordOf(cluster)])));
}

async function importFile(file: string, options: ImportOptions, terminal: Terminal): Promise<void> {
  const { dryRun, restore } = options;
  await withClusters(options, terminal, async (site) => {
    const imported = { source: file, text: readTextFile(file), dryRun, restore };
    const { added, present, version } = await site.clusters.importText(imported);
    for (const { name, uid } of present) terminal.out(`  present  ${name}  ${uid}`);
    for (const { name, uid } of added) terminal.out(`  ${dryRun ? "new    " : "added  "}  ${name}  ${uid}`);
    const { where } = site.clusters;
    if (dryRun) return terminal.out(`${clusters(added.length)} to add to ${where}; ${nothingChanged} (--dry-run).`);
    if (added.length === 0) return terminal.out(`Nothing was changed: ${where} has all of them.`);
    terminal.out(`${clusters(added.length)} added to ${where}, each with its uid.`);
    return await waitFor(site, version, terminal);
  });
}

async function remove(name: string, options: RemoveOptions, terminal: Terminal): Promise<void> {
  const { yes, force, etag } = options;
  const dryRun = options.dryRun || !yes;
  await withClusters(options, terminal, async (site) => {
    const before = await site.clusters.get(name);
    const record = recordOf(before);
    terminal.out(
      `${textOf([before])}
Without this record the gateways refuse ${name}: its apiservers' writes stop within three minutes, and one that restarts
reads nothing encrypted. Its key stays in Vault: ${keyText(keyOf(record))}.
The uid ${record.uid} never stands under another name, and a cluster that is added as ${name} later has another one:
only this very record reads what was encrypted under it. Keep it for as long as you keep backups of that etcd;
'claviger cluster import FILE' takes it back from a file of the lines above${site.isService ? ", with --restore" : ""}.`,
    );
    const { version } = await site.clusters.remove(name, force, { dryRun, ifEtag: etag ?? before.etag });
    if (dryRun) return terminal.out("Nothing was changed. To remove it, run this again with --yes.");
    terminal.out(
      `${name} is removed from ${site.clusters.where}. Next: claviger vault init --yes, which takes its key out of the policy.`,
    );
    return await waitFor(site, version, terminal);
  });
}

/** Adds the three commands to `claviger cluster`. */
export function addMoveCommands(group: Command, terminal: Terminal): void {
  siteOptions(group.command("export"))
    .description("print the registry as a file of it reads, every record with its uid")
    .action(async (options: ClusterOptions) => {
      const { clusters: all, problem } = await withClusters(options, terminal, (site) => site.clusters.list(""));
      terminal.out(textOf(all).trimEnd());
      if (problem !== "")
        throw new CliError(
          `not all records can be used as they stand, and in their place is what was good last: ${problem}`,
        );
    });

  changeOptions(group.command("import"))
    .argument("<file>", "what 'cluster export' printed")
    .description("add a file's clusters with their uids; changes none that is there, and may be repeated")
    .option("--restore", "through the fleet service: also those that were removed (administrators)", false)
    .option("--gateway <url>", gatewayHelp, several)
    .action((file: string, options: ImportOptions) => importFile(file, options, terminal));

  changeOptions(group.command("remove"))
    .argument("<cluster>")
    .description("take a cluster out of the registry, and print the record that would bring it back")
    .option("--force", "through the fleet service: also one that is not suspended", false)
    .option("--etag <etag>", "only where the record is still the one that 'cluster show' printed with this etag")
    .option("--gateway <url>", gatewayHelp, several)
    .option("--yes", "do it; without this it only says what would follow", false)
    .action((name: string, options: RemoveOptions) => remove(name, options, terminal));
}
