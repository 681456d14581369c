// `claviger cluster list` and `cluster label`: clusters by their labels, and the labels themselves.
// (docs/architecture.md #cells.)
import { formatTable } from "@claviger/proto/runtime/table.ts";
import { isSelected } from "@claviger/gateway-core/src/registry/labels.ts";
import { changeCluster } from "./change-cluster.ts";
import { type EditOptions, gatewayHelp, keyText } from "./cluster-options.ts";
import { type Command, several, type Terminal } from "./commander.ts";
import { openFleet } from "./fleet.ts";
import { editLabels, parseLabelEdits, parseSelector, printLabels } from "./labels.ts";
import type { Change } from "@claviger/gateway-core/src/registry/edit/change.ts";
import { type FleetOptions, fleetOptions } from "./target.ts";

type ListOptions = FleetOptions & {
  readonly selector?: string;
  readonly showLabels: boolean;
  readonly json: boolean;
};
type LabelOptions = EditOptions & { readonly overwrite: boolean };

async function list({ selector, showLabels, json, ...options }: ListOptions, terminal: Terminal): Promise<void> {
  const wanted = parseSelector(selector ?? "");
  const all = [...(await openFleet(options, terminal).registry.all()).values()];
  const records = all.filter(({ labels }) => isSelected(wanted, labels));
  if (json) return terminal.out(JSON.stringify(records, undefined, 2));
  return terminal.out(
    formatTable(
      ["CLUSTER", "STATE", "ROTATION", "KEY", "UID", ...(showLabels ? ["LABELS"] : [])],
      records.map(({ name, state, rotation, keys, uid, labels }) => [
        name,
        state,
        rotation,
        keys.map(keyText).join(", "),
        uid,
        ...(showLabels ? [printLabels(labels)] : []),
      ]),
    ),
  );
}

async function label(
  cluster: string,
  given: readonly string[],
  options: LabelOptions,
  terminal: Terminal,
): Promise<void> {
  const edits = parseLabelEdits(given);
  const change: Change = ({ labels }) =>
    labels === undefined && edits.every(({ value }) => value === undefined)
      ? {}
      : { labels: editLabels(labels ?? {}, edits, options.overwrite, cluster) };
  await changeCluster(cluster, change, options, terminal, ({ earlier, changed, where }) =>
    changed === undefined
      ? `${cluster} has the labels ${printLabels(earlier.labels)} already`
      : `${cluster} has the labels ${printLabels(changed.labels)}, in ${where}; gateways that have read this serve it where their configuration selects it.`,
  );
}

/** Adds the two commands to `claviger cluster`. */
export function addLabelCommands(group: Command, terminal: Terminal): void {
  fleetOptions(group.command("list"))
    .description("list them")
    .option(
      "-l, --selector <selector>",
      "only those whose labels match, as for kubectl: 'cell=a,tier in (gold,silver)'",
    )
    .option("--show-labels", "show their labels", false)
    .option("--json", "print JSON", false)
    .action((options: ListOptions) => list(options, terminal));

  fleetOptions(group.command("label"))
    .argument("<cluster>")
    .argument("<labels...>", "KEY=VALUE, or KEY- to take one away")
    .description("set and take away labels of a cluster; they decide which gateways serve it")
    .option("--overwrite", "also give another value to a label that is there", false)
    .option("--gateway <url>", gatewayHelp, several)
    .action((cluster: string, labels: readonly string[], options: LabelOptions) =>
      label(cluster, labels, options, terminal),
    );
}
