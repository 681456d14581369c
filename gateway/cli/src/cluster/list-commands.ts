// `claviger cluster list` and `show`.
import { type Cluster, ClusterSchema, type Key } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import type { Command, Terminal } from "../commander.ts";
import { printLabels } from "../labels.ts";
import {
  type Column,
  fieldsText,
  messageJson,
  outputOption,
  outputOptionWithJson,
  type OutputOptions,
  printOne,
  printRows,
} from "../output.ts";
import { siteOptions } from "../site.ts";
import { type ClusterOptions, withClusters } from "./open.ts";

type ListOptions = ClusterOptions & OutputOptions & { readonly selector?: string; readonly showLabels: boolean };

/** `BACKEND: NAMESPACE/MOUNT/KEY`, several. */
function keysText(keys: readonly Key[]): string {
  return keys
    .map(
      ({ backend, namespace, mount, key }) => `${backend}: ${namespace === "" ? "" : `${namespace}/`}${mount}/${key}`,
    )
    .join(", ");
}

const columns: readonly Column<Cluster>[] = [
  { head: "CLUSTER", cell: ({ name }) => name },
  { head: "STATE", cell: ({ state }) => state },
  { head: "ROTATION", cell: ({ rotation }) => rotation },
  { head: "KEY", cell: ({ keys }) => keysText(keys) },
  { head: "UID", cell: ({ uid }) => uid },
];
const labelColumn: Column<Cluster> = { head: "LABELS", cell: ({ labels }) => printLabels(labels) };

async function list(options: ListOptions, terminal: Terminal): Promise<void> {
  const { selector = "", showLabels } = options;
  const { clusters, problem } = await withClusters(options, terminal, (site) => site.clusters.list(selector));
  printRows(terminal, options, {
    rows: clusters,
    columns: [...columns, ...(showLabels ? [labelColumn] : [])],
    json: messageJson(ClusterSchema),
    none: selector === "" ? "there is no cluster yet: claviger cluster add" : "no cluster has such labels",
  });
  if (problem !== "") terminal.err(`Not all records can be used as they stand: ${problem}`);
}

function textOf(cluster: Cluster): string {
  const { expectedNodes, expectsNoNode, revokedNodes, revokedSerials, previousKeys, issuer } = cluster;
  const nodes = expectsNoNode ? "none may speak for it" : expectedNodes.join(", ");
  return fieldsText(
    [
      ["cluster", cluster.name],
      ["uid", cluster.uid],
      ["state", cluster.state],
      ["generation", String(cluster.generation)],
      ["rotation", cluster.rotation],
      ["key", keysText(cluster.keys)],
      ["previous keys", keysText(previousKeys)],
      ["labels", printLabels(cluster.labels)],
      ["requests/s", String(cluster.requestsPerSecond)],
      ["issuer", issuer],
      ["expected nodes", nodes === "" ? "of any name" : nodes],
      ["revoked nodes", revokedNodes.join(", ")],
      ["revoked serials", revokedSerials.join(", ")],
      ["etag", cluster.etag],
    ].filter((field): field is [string, string] => field[1] !== ""),
  );
}

/** Adds both. */
export function addListCommands(group: Command, terminal: Terminal): void {
  outputOptionWithJson(siteOptions(group.command("list")))
    .description("list them")
    .option(
      "-l, --selector <selector>",
      "only those whose labels match, as for kubectl: 'cell=a,tier in (gold,silver)'",
    )
    .option("--show-labels", "show their labels", false)
    .action((options: ListOptions) => list(options, terminal));

  outputOption(siteOptions(group.command("show")))
    .argument("<cluster>")
    .description("show one, with all that its record says")
    .action(async (name: string, options: ClusterOptions & OutputOptions) => {
      const cluster = await withClusters(options, terminal, (site) => site.clusters.get(name));
      printOne(terminal, options, {
        value: messageJson(ClusterSchema)(cluster),
        text: () => textOf(cluster),
      });
    });
}
