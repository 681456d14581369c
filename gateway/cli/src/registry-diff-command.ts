// `claviger registry diff`: where the registry has drifted from the files that a team keeps of it, say in Git. The
// files are read as a registry of files is; nothing is changed. (docs/control-plane.md #clusters.)
import { statSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { type Cluster, ClusterSchema } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { clusterMessage } from "@claviger/gateway-core/src/registry/cluster-message.ts";
import { directoryEditor } from "@claviger/gateway-core/src/registry/edit/directory.ts";
import { textEditor } from "@claviger/gateway-core/src/registry/edit/editor.ts";
import { fileSource } from "@claviger/gateway-core/src/registry/edit/source.ts";
import { type ClusterOptions, withClusters } from "./cluster/open.ts";
import { type Command, Exit, type Terminal } from "./commander.ts";
import { type Column, messageJson, outputOption, type OutputOptions, printRows } from "./output.ts";
import { siteOptions } from "./site.ts";

type DiffOptions = ClusterOptions & OutputOptions & { readonly from: string };

type Field = { readonly field: string; readonly file: unknown; readonly registry: unknown };
type Difference = {
  readonly cluster: string;
  readonly what: "only in the files" | "only in the registry" | "differs";
  readonly fields: readonly Field[];
};

/** As `fleet status --attention`: a person is needed. */
const driftStatus = 3;
const longestText = 60;
const anyBackend = { has: () => true };

async function readFiles(from: string): Promise<readonly Cluster[]> {
  const isDirectory = statSync(from, { throwIfNoEntry: false })?.isDirectory() === true;
  const files = isDirectory
    ? directoryEditor({ directory: from, backends: anyBackend })
    : textEditor(fileSource({ file: from, backends: anyBackend }));
  return [...(await files.all()).values()].map(clusterMessage);
}

const json = messageJson(ClusterSchema);

function fieldsOf(file: Cluster, registry: Cluster): readonly Field[] {
  const [a, b] = [json(file), json(registry)] as readonly Readonly<Record<string, unknown>>[];
  const names = new Set([...Object.keys(a ?? {}), ...Object.keys(b ?? {})]);
  names.delete("etag");
  return [...names].flatMap((field) =>
    isDeepStrictEqual(a?.[field], b?.[field]) ? [] : [{ field, file: a?.[field], registry: b?.[field] }],
  );
}

function differencesOf(files: readonly Cluster[], registry: readonly Cluster[]): readonly Difference[] {
  const [a, b] = [files, registry].map((all) => new Map(all.map((cluster) => [cluster.name, cluster])));
  const names = [...new Set([...(a?.keys() ?? []), ...(b?.keys() ?? [])])].toSorted();
  return names.flatMap((cluster): readonly Difference[] => {
    const [file, there] = [a?.get(cluster), b?.get(cluster)];
    if (file === undefined) return [{ cluster, what: "only in the registry", fields: [] }];
    if (there === undefined) return [{ cluster, what: "only in the files", fields: [] }];
    const fields = fieldsOf(file, there);
    return fields.length === 0 ? [] : [{ cluster, what: "differs", fields }];
  });
}

function valueText(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  return text.length > longestText ? `${text.slice(0, longestText)}…` : text;
}

const columns: readonly Column<Difference>[] = [
  { head: "CLUSTER", cell: ({ cluster }) => cluster },
  { head: "WHAT", cell: ({ what }) => what },
  {
    head: "IN THE FILES → IN THE REGISTRY",
    cell: ({ fields }) =>
      fields.map(({ field, file, registry }) => `${field}: ${valueText(file)} → ${valueText(registry)}`).join("; "),
  },
];

async function diff(options: DiffOptions, terminal: Terminal): Promise<void> {
  const files = await readFiles(options.from);
  const { clusters, problem } = await withClusters(options, terminal, (site) => site.clusters.list(""));
  const rows = differencesOf(files, clusters);
  printRows(terminal, options, { rows, columns, none: `the registry is what ${options.from} says` });
  if (problem !== "") terminal.err(`Not all records can be used as they stand: ${problem}`);
  if (rows.length > 0) throw new Exit(driftStatus);
}

/** Adds the command to the group `registry`. */
export function addDiffCommand(group: Command, terminal: Terminal): void {
  outputOption(siteOptions(group.command("diff")))
    .description(
      "what differs between a registry file, or a directory of records, and the registry; exit status 3 where something does",
    )
    .requiredOption("--from <path>", "the file, or the directory with a NAME.yaml for each cluster")
    .action((options: DiffOptions) => diff(options, terminal));
}
