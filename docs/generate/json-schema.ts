// docs/reference/schema/*.json: the JSON Schema (2020-12) of each configuration, for editors, from the schemas that read
// them and the comments that stand above their keys. It says less than they do: what it refuses, they refuse; names,
// addresses and what hangs together are judged by the programs alone.
import { z } from "@claviger/proto/runtime/config.ts";
import { contextsSchema } from "@claviger/cli/src/contexts.ts";
import { gatewayConfig } from "@claviger/gateway-core/src/config.ts";
import { fleetConfig } from "../../gateway/fleet/src/config.ts";
import { shimConfig } from "@claviger/shim/src/config.ts";
import { Gap } from "./markdown.ts";
import { documentation, durationText, type Sources, typeOf } from "./schema.ts";
import { contextSources, fleetSources, gatewaySources, shimSources } from "./settings.ts";

type Json = Record<string, unknown>;

const duration = { type: "string", pattern: "^\\d+(?:\\.\\d+)?(?:ms|s|m|h)$" } as const;

/** Other texts become something else, too: HOST:PORT is one. */
function isDuration(schema: z.core.$ZodTypes): boolean {
  return schema._zod.def.type === "pipe" && typeOf(schema).startsWith("a duration");
}

type Shape = Readonly<Record<string, z.core.$ZodType>>;
type DocOf = (shape: Shape, key: string) => string | undefined;

/** The comment of a key in the first of the sources that has one; what is the gateway's as well has the gateway's. */
function docsIn(sources: readonly Sources[]): DocOf {
  const all = sources.map(documentation);
  const find = (shape: Shape, key: string): string | undefined => {
    for (const docOf of all)
      try {
        return docOf(shape, key, key);
      } catch (error) {
        if (!(error instanceof Gap)) throw error;
      }
    return undefined;
  };
  const shared: Shape = gatewayConfig.shape;
  return (shape, key) => find(shape, key) ?? (shared[key] === shape[key] ? find(shared, key) : undefined);
}

/** The schema within its default and its "may be absent". */
function innerOf(schema: z.core.$ZodTypes): z.core.$ZodTypes {
  const { def } = schema._zod;
  return def.type === "default" || def.type === "optional" ? innerOf(def.innerType as z.core.$ZodTypes) : schema;
}

/** The same JSON Schema with what zod has no word for: descriptions, durations, and defaults as somebody writes them. */
function improved(schema: z.core.$ZodTypes, json: Json, docOf: DocOf): Json {
  const { default: fallback, ...rest } = json;
  const inner = innerOf(schema);
  const { def } = inner._zod;
  const below = (one: z.core.$ZodType, of: unknown): Json => improved(one as z.core.$ZodTypes, of as Json, docOf);
  if (isDuration(inner))
    return { ...rest, ...duration, ...(typeof fallback === "number" && { default: durationText(fallback) }) };
  const whole = { ...rest, ...(fallback !== undefined && typeof fallback !== "object" && { default: fallback }) };
  switch (def.type) {
    case "object": {
      const properties = Object.entries(def.shape).map(([key, one]) => {
        const made = below(one, (json["properties"] as Json)[key]);
        const description = docOf(def.shape, key);
        // A section whose settings say the rest has none; a setting without one fails settings.md.
        return [key, description === undefined ? made : { description, ...made }];
      });
      return { ...whole, properties: Object.fromEntries(properties) as Json };
    }
    case "array":
      return { ...whole, items: below(def.element, json["items"]) };
    case "record":
      return { ...whole, additionalProperties: below(def.valueType, json["additionalProperties"]) };
    case "union": {
      const name = json["oneOf"] === undefined ? "anyOf" : "oneOf";
      const options = json[name] as readonly unknown[];
      return { ...whole, [name]: def.options.map((one, i) => below(one, options[i])) };
    }
    case "pipe":
      return { ...whole, ...below(def.in, rest) };
    case "custom":
      return { type: "string", ...whole };
    default:
      return whole;
  }
}

function schemaOf(title: string, schema: z.core.$ZodType, sources: readonly Sources[]): Json {
  const made = z.toJSONSchema(schema, { target: "draft-2020-12", io: "input", unrepresentable: "any" });
  const { $schema, ...rest } = made as Json;
  return { $schema, title, ...improved(schema as z.core.$ZodTypes, rest, docsIn(sources)) };
}

/** What may be shorter in a file of contexts: a registry's reference, a Vault's kind and login. */
function withShortForms(schema: Json): Json {
  const text = JSON.stringify(schema, (name, value: unknown) => {
    if (name === "registry" && typeof value === "object" && value !== null)
      return { description: (value as Json)["description"], anyOf: [{ type: "string" }, { ...value }] };
    if (name === "required" && Array.isArray(value) && value.includes("auth") && value.includes("addresses"))
      return (value as readonly unknown[]).filter((one) => one !== "auth" && one !== "kind");
    return value;
  });
  return JSON.parse(text) as Json;
}

const schemas: Readonly<Record<string, () => Json>> = {
  "gateway.json": () => schemaOf("gateway.yaml of Claviger", gatewayConfig, [gatewaySources()]),
  "shim.json": () => schemaOf("shim.yaml of Claviger", shimConfig, [shimSources()]),
  "fleet.json": () => schemaOf("fleet.yaml of Claviger", fleetConfig, fleetSources()),
  "cli.json": () => withShortForms(schemaOf("An operator's contexts of Claviger", contextsSchema, [contextSources()])),
};

/** The pages by their names below docs/reference. */
export const schemaPages: Readonly<Record<string, () => string>> = Object.fromEntries(
  Object.entries(schemas).map(([name, make]) => [`schema/${name}`, () => `${JSON.stringify(make(), undefined, 2)}\n`]),
);
