// Changes the registry's YAML text: only what was asked for, with comments and order kept, checked
// before it is written.
import { type ClusterName, clusterName } from "@claviger/proto/wire/names.ts";
import type { KeyRef } from "../../backend/port.ts";
import { parseRegistry } from "../merge.ts";
import { withCurrentNames } from "../pieces.ts";
import { backendProblems, checkRecord, type ClusterRecord, type Registry } from "../record.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { type Change, changedFields } from "./change.ts";
import { EditError, isThere, unknownCluster } from "./error.ts";
import { labelsText, limitsText, type NewRecord, nodesText, printRecord } from "./record-text.ts";
import { type AddOptions, assertNotRemoved } from "./removed.ts";
import type { RegistrySource } from "./source.ts";
import { isMap, isNode, isScalar, isSeq, parseDocument, stringify, type YAMLMap, type YAMLSeq } from "./yaml.ts";

/** The registry as it stands. @throws ConfigError with every problem */
export async function readRegistry(
  { name, backends, read }: RegistrySource,
  missing: "error" | "empty" = "error",
): Promise<Registry> {
  return parseRegistry(name, (await read(missing)).text, backends, undefined);
}

/** The record of a cluster. */
export function recordOf(registry: Registry, name: string): ClusterRecord {
  const record = clusterName.is(name) ? registry.get(name) : undefined;
  if (record === undefined) throw unknownCluster(name);
  return record;
}

/**
 * A record that is stored by itself, checked as gateways check it.
 * @param own what speaks against it where it lies
 * @throws ConfigError with everything that is wrong
 */
export function checkedRecord(
  source: string,
  raw: unknown,
  backends: Pick<ReadonlySet<string>, "has">,
  own: (record: ClusterRecord) => readonly string[] = () => [],
): ClusterRecord {
  const { record, problems } = checkRecord(withCurrentNames(raw, () => {}));
  if (record === undefined) throw new ConfigError(source, problems);
  const wrong = [...own(record), ...backendProblems(record, backends)];
  if (wrong.length > 0) throw new ConfigError(source, wrong);
  return record;
}

/**
 * The key that encrypts for it. One backend for each cluster today; the registry's schema makes
 * sure of it.
 */
export function keyOf({ name, keys: [key] }: ClusterRecord): KeyRef {
  if (key === undefined) throw new EditError(`cluster ${name} has no key in the registry`);
  return key;
}

function clustersOf(source: string, text: string): YAMLSeq {
  const list = parseDocument(text).get("clusters");
  if (!isSeq(list)) throw new EditError(`${source}: 'clusters' is not a list`);
  return list;
}

/** Resolves with the registry as it stands after that. */
async function edit(
  source: RegistrySource,
  change: (text: string, before: Registry) => string | Promise<string>,
  { missing = "error", dryRun = false }: { readonly missing?: "error" | "empty"; readonly dryRun?: boolean } = {},
): Promise<Registry> {
  const { name, backends } = source;
  const { text, write } = await source.read(missing);
  const before = parseRegistry(name, text, backends, undefined);
  const changed = await change(text, before);
  if (changed === text) return before;
  // The rules that a gateway applies from one edit to the next: what it would refuse is not
  // written.
  const after = parseRegistry(name, changed, backends, before);
  if (dryRun) return before;
  await write(changed);
  return after;
}

function mapOf(list: YAMLSeq, name: ClusterName): YAMLMap {
  const found = list.items.find((item) => isMap(item) && item.get("name") === name);
  if (!isMap(found))
    throw new EditError(`cluster ${name} is written in a way that this command cannot edit; edit the file by hand`);
  return found;
}

function rangeOf(node: unknown): readonly [start: number, end: number] | undefined {
  const range = isNode(node) ? node.range : undefined;
  return range === undefined || range === null ? undefined : [range[0], range[1]];
}

/** The text with another value at a place. */
function spliced(text: string, [start, end]: readonly [number, number], value: string): string {
  return text.slice(0, start) + value + text.slice(end);
}

/** The text with other fields in a record; all else stays. */
function withFields(text: string, map: YAMLMap, { name }: ClusterRecord, fields: Fields): string {
  const keyAt = rangeOf(map.items.find(({ key }) => isScalar(key) && key.value === "state")?.key)?.[0];
  if (keyAt === undefined) throw new EditError(`cluster ${name} has no state of its own in the file; edit it by hand`);
  const indent = " ".repeat(keyAt - text.lastIndexOf("\n", keyAt - 1) - 1);
  const separator = map.flow === true ? ", " : `\n${indent}`;
  const splices = Object.entries(fields).map(([field, value]) => {
    const at = rangeOf(map.get(field, true));
    if (at !== undefined) {
      // What ends a block value is of the next line.
      const end = at[0] + text.slice(at[0], at[1]).trimEnd().length;
      return { at: [at[0], end] as const, value };
    }
    // Before the state: a comment after it stays where it is.
    return { at: [keyAt, keyAt] as const, value: `${field}: ${value}${separator}` };
  });
  // The later one first: the places of the others stay.
  const fromEnd = splices.toReversed().toSorted((a, b) => b.at[0] - a.at[0]);
  return fromEnd.reduce((all, { at, value }) => spliced(all, at, value), text);
}

/** Values as they stand in a text, by field. */
type Fields = Readonly<Record<string, string>>;

/** How far in the lines of a mapping in block style stand; undefined for any other value. */
function blockIndent(text: string, node: unknown): string | undefined {
  const start = isMap(node) && node.flow !== true ? rangeOf(node)?.[0] : undefined;
  return start === undefined ? undefined : " ".repeat(start - text.lastIndexOf("\n", start - 1) - 1);
}

/** The text of a registry with a change in one record. */
function withChange(text: string, map: YAMLMap, record: ClusterRecord, next: Change): string {
  const changed = changedFields(record, next);
  if (changed === undefined) return text;
  const { generation, state, nodes, labels, limits, rotation } = changed;
  return withFields(text, map, record, {
    ...(generation !== undefined && { generation: String(generation) }),
    ...(labels !== undefined && { labels: labelsText(labels, blockIndent(text, map.get("labels", true))) }),
    ...(nodes !== undefined && { nodes: nodesText(nodes) }),
    ...(limits !== undefined && { limits: limitsText(limits) }),
    ...(rotation !== undefined && { rotation }),
    ...(state !== undefined && { state }),
  });
}

/** The same for a file that is one record. @throws EditError */
export function withChangeInFile(file: string, text: string, record: ClusterRecord, next: Change): string {
  const { contents } = parseDocument(text);
  if (!isMap(contents))
    throw new EditError(`${file} is written in a way that this command cannot edit; edit it by hand`);
  return withChange(text, contents, record, next);
}

/**
 * Changes a record and raises its generation (changedFields), so that a gateway which has not read the
 * edit hears of it from the shims; the rest of the text stays. Resolves with the record as it was and the registry as it
 * stands.
 */
export async function changeRecord(
  registry: RegistrySource,
  name: string,
  next: Change,
): Promise<{ readonly earlier: ClusterRecord; readonly registry: Registry }> {
  let earlier: ClusterRecord | undefined;
  const after = await edit(registry, (text, before) => {
    const record = recordOf(before, name);
    earlier = record;
    return withChange(text, mapOf(clustersOf(registry.name, text), record.name), record, next);
  });
  return { earlier: earlier ?? recordOf(after, name), registry: after };
}

/** The text with records at the end of its list. */
function withRecords(source: string, text: string, records: readonly NewRecord[]): string {
  const list = clustersOf(source, text);
  const range = list.range ?? undefined;
  const print = (indent: string): string => records.map((record) => printRecord(record, indent)).join("");
  if (list.items.length === 0 && range !== undefined)
    return `${text.slice(0, range[0]).trimEnd()}\n${print("  ")}${text.slice(range[1]).trimStart()}`;
  if (list.flow === true || range === undefined)
    throw new EditError(`${source} is written in flow style (JSON); add this by hand:\n${print("")}`);
  // A block list is the file's one and last value: the new record goes to the end, as far in as
  // its neighbours.
  return `${text.trimEnd()}\n${print(text.slice(text.lastIndexOf("\n", range[0]) + 1, range[0]))}`;
}

/**
 * Adds those records that `select` picks, by what the registry holds, at its end; makes the registry when
 * there is none yet. Resolves with the registry as it stands.
 */
export function addRecords(
  registry: RegistrySource,
  select: (before: Registry) => readonly NewRecord[],
  options: AddOptions,
): Promise<Registry> {
  return edit(
    registry,
    async (text, before) => {
      const records = select(before);
      const there = records.find(({ name }) => before.has(name));
      if (there !== undefined) throw isThere(there.name);
      await assertNotRemoved(registry.removed, records, options);
      return records.length === 0 ? text : withRecords(registry.name, text, records);
    },
    { missing: "empty", dryRun: options.dryRun === true },
  );
}

/** Takes a record out; comments stay. Resolves with the registry as it stands. */
export function removeRecord(registry: RegistrySource, name: string): Promise<Registry> {
  return edit(registry, async (text, before) => {
    const list = clustersOf(registry.name, text);
    const record = recordOf(before, name);
    const [start, end] = rangeOf(mapOf(list, record.name)) ?? [0, 0];
    const lineStart = text.lastIndexOf("\n", start - 1) + 1;
    const lead = text.slice(lineStart, start);
    if (list.flow === true || !/^ *- +$/.test(lead))
      throw new EditError(`cluster ${name} is written in a way that this command cannot edit; edit the file by hand`);
    const lineEnd = text.indexOf("\n", start + text.slice(start, end).trimEnd().length);
    const left = list.items.length === 1 ? "  []\n" : "";
    await registry.removed.add(record);
    return text.slice(0, lineStart) + left + (lineEnd < 0 ? "" : text.slice(lineEnd + 1));
  });
}

/** YAML in the block style that the edits above expect. */
export function toYaml(data: unknown): string {
  return stringify(data);
}
