// `claviger cluster label` and `edit`.
import { nodeName } from "@claviger/proto/wire/names.ts";
import { gatewayHelp } from "../cluster-options.ts";
import { CliError, type Command, Option, several, type Terminal, wholeNumberBetween } from "../commander.ts";
import { editLabels, parseLabelEdits, printLabels } from "../labels.ts";
import { changeOptions } from "../site.ts";
import { type ChangeOptions, nothingChanged, waitFor, withClusters } from "./open.ts";

type LabelOptions = ChangeOptions & { readonly overwrite: boolean };
type EditOptions = ChangeOptions & {
  readonly rotation?: "auto" | "manual";
  readonly requestsPerSecond?: number;
  readonly expect?: readonly string[];
  readonly anyNode: boolean;
  readonly etag?: string;
};

async function label(name: string, given: readonly string[], options: LabelOptions, terminal: Terminal): Promise<void> {
  const edits = parseLabelEdits(given);
  await withClusters(options, terminal, async (site) => {
    const { clusters } = site;
    const before = await clusters.get(name);
    // What is there already is looked at in the record that is changed, and in no other.
    editLabels(before.labels, edits, options.overwrite, name);
    const set = edits.flatMap(({ key, value }) => (value === undefined ? [] : [[key, value] as const]));
    const removeLabels = edits.flatMap(({ key, value }) => (value === undefined ? [key] : []));
    const { cluster, version } = await clusters.update(
      name,
      { setLabels: Object.fromEntries(set), removeLabels },
      { dryRun: options.dryRun, ifEtag: before.etag },
    );
    const labels = `${name} has the labels ${printLabels(cluster.labels)}`;
    if (cluster.etag === before.etag) terminal.out(`${labels} already; ${nothingChanged}`);
    else if (options.dryRun)
      terminal.out(`${name} would have the labels ${printLabels(cluster.labels)}; ${nothingChanged}`);
    else
      terminal.out(
        `${labels}, in ${clusters.where}; gateways that have read this serve it where their configuration selects it.`,
      );
    await waitFor(site, version, terminal);
  });
}

function namesOf(given: readonly string[]): string[] {
  return [...new Set(given.flatMap((one) => one.split(",")))].map((name) => {
    if (!nodeName.is(name)) throw new CliError(`--expect ${JSON.stringify(name)} must be ${nodeName.rule}`);
    return name;
  });
}

async function edit(name: string, options: EditOptions, terminal: Terminal): Promise<void> {
  const { rotation, requestsPerSecond, expect = [], anyNode, etag, dryRun } = options;
  if (rotation === undefined && requestsPerSecond === undefined && expect.length === 0 && !anyNode)
    throw new CliError(
      "say what is to be changed: --rotation, --requests-per-second, --expect or --any-node; labels are changed by: claviger cluster label",
    );
  if (anyNode && expect.length > 0)
    throw new CliError("give --expect for the names of all nodes, or --any-node, not both");
  const update = {
    ...(rotation !== undefined && { rotation }),
    ...(requestsPerSecond !== undefined && { requestsPerSecond }),
    expectedNodes: namesOf(expect),
    anyNode,
  };
  await withClusters(options, terminal, async (site) => {
    const { clusters } = site;
    const before = await clusters.get(name);
    const { cluster, version } = await clusters.update(name, update, { dryRun, ifEtag: etag });
    const nodes = cluster.expectedNodes.length === 0 ? "of any name" : cluster.expectedNodes.join(", ");
    const is = `rotation ${cluster.rotation}, ${cluster.requestsPerSecond} requests/s, nodes ${nodes}`;
    if (cluster.etag === before.etag) terminal.out(`${name} has ${is} already; ${nothingChanged}`);
    else if (dryRun) terminal.out(`${name} would have ${is}; ${nothingChanged} (--dry-run)`);
    else terminal.out(`${name} has ${is}, in ${clusters.where}.`);
    await waitFor(site, version, terminal);
  });
}

/** Adds both. */
export function addEditCommands(group: Command, terminal: Terminal): void {
  changeOptions(group.command("label"))
    .argument("<cluster>")
    .argument("<labels...>", "KEY=VALUE, or KEY- to take one away")
    .description("set and take away labels of a cluster; they decide which gateways serve it, and who may change it")
    .option("--overwrite", "also give another value to a label that is there", false)
    .option("--gateway <url>", gatewayHelp, several)
    .action((name: string, labels: readonly string[], options: LabelOptions) => label(name, labels, options, terminal));

  changeOptions(group.command("edit"))
    .argument("<cluster>")
    .description("change a cluster's rotation, limit or expected nodes; what is not named stays")
    .addOption(new Option("--rotation <kind>", "who promotes a new key version").choices(["auto", "manual"]))
    .option(
      "--requests-per-second <n>",
      "requests of all its nodes together that last",
      wholeNumberBetween(1, 1_000_000),
    )
    .option("--expect <node>", "the names of all its nodes, joined by commas or several times", several)
    .option("--any-node", "every name is good again, as where nothing was said", false)
    .option("--etag <etag>", "only where the record is still the one that 'cluster show' printed with this etag")
    .option("--gateway <url>", gatewayHelp, several)
    .action((name: string, options: EditOptions) => edit(name, options, terminal));
}
