// `claviger node`: which nodes may speak for a cluster, written into its record. Gateways hold every
// request against it, on connections that are open as well. (docs/architecture.md #registry.)
import { nodeName, type NodeName } from "@claviger/proto/wire/names.ts";
import { normalSerial } from "@claviger/gateway-core/src/registry/record.ts";
import type { NodeTarget } from "@claviger/gateway-core/src/registry/edit/nodes.ts";
import type { Changed, ClusterEditor } from "./cluster/editor.ts";
import { type ChangeOptions, nothingChanged, waitFor, withClusters } from "./cluster/open.ts";
import { gatewayHelp } from "./cluster-options.ts";
import { CliError, type Command, several, type Terminal } from "./commander.ts";
import { addNodeViewCommands } from "./node-view-commands.ts";
import { addTokenCommand } from "./token-command.ts";
import { changeOptions } from "./site.ts";

type Target = NodeTarget & { readonly cluster: string };

function parseNode(name: string): NodeName {
  if (!nodeName.is(name)) throw new CliError(`${JSON.stringify(name)} must be ${nodeName.rule}`);
  return name;
}

/** `CLUSTER/NODE`, or `CLUSTER` with serial numbers. */
function targetOf(text: string, serials: readonly string[] = []): Target {
  const [cluster = "", node, ...rest] = text.split("/");
  if (rest.length > 0) throw new CliError(`${JSON.stringify(text)} must be CLUSTER/NODE`);
  if (node === undefined && serials.length === 0)
    throw new CliError("give CLUSTER/NODE, or CLUSTER with --serial: which node, or which certificate of it");
  if (node !== undefined && serials.length > 0)
    throw new CliError("give CLUSTER/NODE for the node, or CLUSTER with --serial for a certificate, not both");
  for (const serial of serials)
    if (!/^[0-9A-Fa-f:]+$/.test(serial))
      throw new CliError(
        `--serial ${serial} is no serial number in hexadecimal digits; openssl x509 -noout -serial -in FILE prints it`,
      );
  return { cluster, serials: serials.map(normalSerial), ...(node !== undefined && { node: parseNode(node) }) };
}

function whatOf({ cluster, node, serials }: Target): string {
  return node === undefined ? `certificate ${serials.join(", ")} of ${cluster}` : `node ${node} of ${cluster}`;
}

const effects = {
  revoke:
    "gateways that have read this refuse it, on open connections too. What the node holds in memory it keeps: change what it may know",
  allow: "gateways that have read this serve it",
} as const;

type SerialOptions = ChangeOptions & { readonly serial?: readonly string[] };
type ExpectOptions = ChangeOptions & { readonly any: boolean };

/** @param make changes the record */
async function edit(
  options: ChangeOptions,
  terminal: Terminal,
  cluster: string,
  make: (clusters: ClusterEditor) => Promise<Changed>,
  { is, effect }: { readonly is: string; readonly effect: string },
): Promise<void> {
  await withClusters(options, terminal, async (site) => {
    const { clusters } = site;
    const before = await clusters.get(cluster);
    const { cluster: after, version } = await make(clusters);
    if (after.etag === before.etag) terminal.out(`${is} already; ${nothingChanged}`);
    else if (options.dryRun) terminal.out(`${is}: that is what the record would say; ${nothingChanged} (--dry-run)`);
    else terminal.out(`${is}, in ${clusters.where}; ${effect}.`);
    await waitFor(site, version, terminal);
  });
}

/** Adds the group. */
export function addNodeCommands(root: Command, terminal: Terminal): void {
  const group = root.command("node").description("which nodes may speak for a cluster");
  addTokenCommand(group, terminal);
  addNodeViewCommands(group, terminal);

  for (const { verb, help, participle } of [
    { verb: "revoke", help: "refuse a node, or one of its certificates", participle: "revoked" },
    { verb: "allow", help: "take a revocation back", participle: "not revoked" },
  ] as const)
    changeOptions(group.command(verb))
      .argument("<node>", "CLUSTER/NODE; CLUSTER alone with --serial")
      .description(help)
      .option("--serial <hex>", "a certificate by its serial number; several times", several)
      .option("--gateway <url>", gatewayHelp, several)
      .action(async (text: string, options: SerialOptions) => {
        const target = targetOf(text, options.serial);
        const is = `${whatOf(target)} is ${participle}`;
        const how = { dryRun: options.dryRun };
        await edit(options, terminal, target.cluster, (clusters) => clusters.nodes(target.cluster, verb, target, how), {
          is,
          effect: effects[verb],
        });
      });

  changeOptions(group.command("expect"))
    .argument("<cluster>")
    .argument("[nodes...]", "the names of its nodes, all of them")
    .description("say which nodes a cluster has: certificates of other names are refused")
    .option("--any", "every name is good, as where nothing was said", false)
    .option("--gateway <url>", gatewayHelp, several)
    .action(async (cluster: string, names: readonly string[], options: ExpectOptions) => {
      if (options.any === names.length > 0)
        throw new CliError("give the names of all nodes of the cluster, or --any for every name");
      const expected = [...new Set(names.map(parseNode))].toSorted();
      const update = { expectedNodes: expected, anyNode: options.any };
      const how = { dryRun: options.dryRun };
      await edit(options, terminal, cluster, (clusters) => clusters.update(cluster, update, how), {
        is: `${cluster} has ${options.any ? "nodes of any name" : expected.join(", ")}`,
        effect: `gateways that have read this ${options.any ? "ask for no name" : "refuse certificates of other names"}`,
      });
    });
}
