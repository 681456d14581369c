// A zod schema as a table of settings: path, value, default, and the comment that stands above the
// key in the source.
import { z } from "@claviger/proto/runtime/config.ts";
import { code, Gap, table } from "./markdown.ts";
import { type Member, objectsOf } from "./source.ts";

type Schema = z.core.$ZodType;
/** Source texts by file. */
export type Sources = Readonly<Record<string, string>>;
type Definition = z.core.$ZodTypes["_zod"]["def"];
type Row = {
  readonly path: string;
  readonly kind: string;
  readonly type: string;
  readonly fallback: string;
  readonly doc: string;
};

function definitionOf(schema: Schema): Definition {
  return (schema as z.core.$ZodTypes)._zod.def;
}

/** What a schema or a check says to someone who breaks it. */
function messagesOf(def: { readonly error?: unknown }): readonly string[] {
  if (typeof def.error !== "function") return [];
  const text: unknown = (def.error as (issue: object) => unknown)({});
  return typeof text === "string" ? [text.replace(/^must be /, "").replace(" such as 500ms, 10s, 5m or 1h", "")] : [];
}

/** The schema without its default and its "may be absent". */
function innerOf(schema: Schema): Schema {
  const def = definitionOf(schema);
  return def.type === "default" || def.type === "optional" ? innerOf(def.innerType) : schema;
}

function checksOf(def: Definition): readonly z.core.$ZodCheckDef[] {
  return (def.checks ?? []).map((check) => check._zod.def);
}

function rangeOf(def: Definition): string {
  const bounds = checksOf(def) as readonly { readonly check: string; readonly value?: number }[];
  const [low, high] = ["greater_than", "less_than"].map((name) => bounds.find(({ check }) => check === name)?.value);
  return low === undefined || high === undefined ? "" : `, ${low} to ${high}`;
}

/** What a setting takes, in words. */
export function typeOf(schema: Schema): string {
  const def = definitionOf(innerOf(schema));
  const messages = [...checksOf(def), def].flatMap(messagesOf);
  switch (def.type) {
    case "string":
      return [...new Set(messages)].join("; ") || "text";
    case "custom":
      return messages.join("; ");
    case "number":
      return `${(checksOf(def) as readonly { format?: string }[]).some(({ format }) => format === "safeint") || messages.some((text) => text.startsWith("a whole")) ? "whole number" : "number"}${rangeOf(def)}`;
    case "boolean":
      return "true or false";
    case "enum":
      return Object.values(def.entries)
        .map((value) => code(String(value)))
        .join(", ");
    case "literal":
      return def.values.map((value) => code(String(value))).join(", ");
    case "array":
      return `list: ${typeOf(def.element)}`;
    case "pipe":
      return typeOf(def.in);
    case "record":
      return `mapping by name: ${typeOf(def.keyType)}`;
    default:
      throw new Gap(`docs/generate/settings.ts does not know the schema type ${def.type}`);
  }
}

/** A duration as somebody writes it. */
export function durationText(ms: number): string {
  const [amount, unit] =
    ms % 3_600_000 === 0
      ? [ms / 3_600_000, "h"]
      : ms % 60_000 === 0
        ? [ms / 60_000, "m"]
        : ms % 1000 === 0
          ? [ms / 1000, "s"]
          : [ms, "ms"];
  return ms === 0 ? "0s" : `${amount}${unit}`;
}

function shown(value: unknown, type: string): string {
  if (typeof value === "number" && type.startsWith("a duration")) return code(durationText(value));
  if (typeof value === "number" && value >= 2 ** 20 && value % 2 ** 20 === 0)
    return `${code(String(value))} (${value / 2 ** 20} Mi)`;
  if (isObject(value) && !Array.isArray(value)) return code(JSON.stringify(value));
  return code(Array.isArray(value) ? `[${value.map(String).join(", ")}]` : String(value));
}

function fallbackOf(schema: Schema, outer: unknown, type: string): string {
  const def = definitionOf(schema);
  if (def.type === "default") return shown(def.defaultValue, type);
  if (def.type === "optional") return "none";
  return outer === undefined ? "required" : `${shown(outer, type)} without this section, else required`;
}

/** The comment of a key: of the largest literal in the sources whose keys are all in the shape. Throws Gap for none. */
export function documentation(
  sources: Sources,
): (shape: Readonly<Record<string, Schema>>, key: string, path: string) => string {
  const literals = Object.values(sources).flatMap(objectsOf);
  return (shape, key, path) => {
    const kind = definitionOf(shape["kind"] ?? z.never());
    const fits = (member: Member): boolean =>
      Object.hasOwn(shape, member.name) &&
      (member.name !== "kind" ||
        kind.type !== "literal" ||
        member.value.some(({ text }) => text === `"${String(kind.values[0])}"`));
    const found = literals
      .filter(
        (members) =>
          members.some(({ name, value, doc }) => name === key && (value.length > 0 || doc !== undefined)) &&
          members.filter(({ name, value }) => value.length > 0 || name === key).every(fits),
      )
      .toSorted((a, b) => b.length - a.length);
    const docs = new Set(
      found
        .filter(({ length }) => length === found[0]?.length)
        .flatMap((members) => members.filter(({ name, doc }) => name === key && doc !== undefined))
        .map(({ doc }) => doc),
    );
    const [doc] = docs;
    if (doc === undefined)
      throw new Gap(`${path}: the key has no /** comment */ in ${Object.keys(sources).join(", ")}`);
    if (docs.size > 1) throw new Gap(`${path}: two comments compete: ${[...docs].join(" / ")}`);
    return doc;
  };
}

function walk(
  schema: Schema,
  path: string,
  kind: string,
  outer: unknown,
  docOf: ReturnType<typeof documentation>,
): readonly Row[] {
  const inner = innerOf(schema);
  const def = definitionOf(inner);
  const given = definitionOf(schema);
  const fallback: unknown = given.type === "default" ? given.defaultValue : outer;
  switch (def.type) {
    case "object":
      return Object.entries(def.shape).flatMap(([key, value]) => {
        const at = path === "" ? key : `${path}.${key}`;
        const below = isObject(fallback) ? fallback[key] : undefined;
        const deeper = walk(value, at, kind, below, docOf);
        const form = definitionOf(innerOf(value)).type;
        const isSection = deeper.length > 0 && form !== "record" && form !== "array";
        // A section is named where it may be absent; its settings say the rest.
        if (isSection && definitionOf(value).type !== "optional") return deeper;
        const type = isSection ? "section" : deeper.length > 0 && form === "array" ? "list" : typeOf(value);
        const doc = docOf(def.shape, key, at);
        return [{ path: at, kind, type, fallback: fallbackOf(value, below, type), doc }, ...deeper];
      });
    case "union":
      return merged(
        def.options.map((option) => walk(option, path, String(kindOf(option, path)), undefined, docOf)),
        def.options.length,
        kind,
      );
    case "pipe":
      return walk(def.in, path, kind, outer, docOf);
    case "array":
      return walk(def.element, `${path}[]`, kind, undefined, docOf);
    case "record":
      return walk(def.valueType, `${path}.NAME`, kind, undefined, docOf);
    default:
      return [];
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function kindOf(option: Schema, path: string): unknown {
  const shape = definitionOf(innerOf(option));
  const kind = shape.type === "object" ? definitionOf(shape.shape["kind"] ?? z.never()) : shape;
  if (kind.type !== "literal") throw new Gap(`${path}: a union without a kind`);
  return kind.values[0];
}

/** The rows of a union: what is the same for several kinds stands once. */
function merged(options: readonly (readonly Row[])[], all: number, outerKind: string): readonly Row[] {
  const rows = new Map<string, Row & { readonly kinds: string[] }>();
  for (const row of options.flat()) {
    const id = JSON.stringify([row.path, row.type, row.fallback, row.doc]);
    const known = rows.get(id);
    if (known === undefined) rows.set(id, { ...row, kinds: [row.kind] });
    else known.kinds.push(row.kind);
  }
  return [...rows.values()].map(({ kinds, ...row }) => ({
    ...row,
    kind: kinds.length === all ? outerKind : kinds.join(", "),
  }));
}

/**
 * The settings of a schema.
 * @param sources where its keys have their comments
 * @throws Gap when a key has none
 */
export function settingsTable(schema: Schema, sources: Sources): string {
  const rows = walk(schema, "", "", undefined, documentation(sources));
  return table(
    ["setting", "value", "default", "what"],
    rows.map(({ path, kind, type, fallback, doc }) => [
      `${code(path)}${kind === "" || path.endsWith("kind") ? "" : ` (${kind})`}`,
      type,
      fallback,
      doc,
    ]),
  );
}
