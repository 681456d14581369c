// Moves records between registries with their uids kept: as `claviger cluster export` prints them,
// and `import` takes them. A record that is there is never changed.
import { isDeepStrictEqual } from "node:util";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { mergeRegistry } from "@claviger/gateway-core/src/registry/merge.ts";
import type { ClusterRecord, Registry } from "@claviger/gateway-core/src/registry/record.ts";
import { printRecord } from "@claviger/gateway-core/src/registry/edit/record-text.ts";
import type { Edited, RegistryEditor } from "@claviger/gateway-core/src/registry/edit/editor.ts";

/** A registry as a file of it reads. */
export function printRegistry(registry: Registry): string {
  const records = [...registry.values()];
  return records.length === 0
    ? "clusters: []\n"
    : `clusters:\n${records.map((record) => printRecord(record, "  ")).join("")}`;
}

export type Import = Edited & {
  readonly added: readonly ClusterRecord[];
  /** In the registry already, exactly so. */
  readonly present: readonly ClusterRecord[];
};

function differences(wanted: ClusterRecord, there: ClusterRecord): readonly string[] {
  const fields = new Set([...Object.keys(wanted), ...Object.keys(there)]) as ReadonlySet<keyof ClusterRecord>;
  return [...fields].filter((field) => !isDeepStrictEqual(wanted[field], there[field]));
}

/** What speaks against a record, held against the registry that it is to stand in. */
function conflicts(record: ClusterRecord, before: Registry): readonly string[] {
  const { name, uid } = record;
  const there = before.get(name);
  const owner = [...before.values()].find((other) => other.uid === uid && other.name !== name);
  const differing = there === undefined ? [] : differences(record, there);
  return [
    ...(owner === undefined ? [] : [`${name}: the uid ${uid} is that of ${owner.name} there, for life`]),
    ...(differing.length === 0
      ? []
      : [`${name}: is there already, with another ${differing.join(", ")}; a record that is there is not changed`]),
  ];
}

/**
 * Adds the records of a text to a registry: all of them, or none. Repeated, it changes nothing.
 * @param source what messages call the text
 * @param dryRun only looks
 * @throws ConfigError with everything that is wrong
 */
export async function importRecords(
  registry: RegistryEditor,
  { source, text, dryRun }: { readonly source: string; readonly text: string; readonly dryRun: boolean },
): Promise<Import> {
  const { registry: wanted, problems } = mergeRegistry(source, text, registry.backends, undefined);
  let [added, present]: [readonly ClusterRecord[], readonly ClusterRecord[]] = [[], []];
  const select = (before: Registry): readonly ClusterRecord[] => {
    const records = [...wanted.values()];
    const all = [...problems, ...records.flatMap((record) => conflicts(record, before))];
    if (all.length > 0) throw new ConfigError(`${source} cannot be imported into ${registry.name}`, all);
    added = records.filter(({ name }) => !before.has(name));
    present = records.filter(({ name }) => before.has(name));
    return added;
  };
  // What was removed comes back under its own name: it alone opens what was encrypted under its uid.
  const edited = await registry.addAll(select, { restores: true, dryRun });
  return { added, present, ...edited };
}
