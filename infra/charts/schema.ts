// Writes each chart's values.schema.json: from its values.yaml (keys, types, and the comments as descriptions) and, for
// `config`, from the schema by which the program itself reads its configuration. `--check` writes nothing and fails where
// a file is not what these say, or a value has no comment.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isMap, isScalar, parseDocument, type Pair, type YAMLMap } from "yaml";
import { z } from "@claviger/proto/runtime/config.ts";
import { gatewayConfig } from "@claviger/gateway-core/src/config.ts";
import { clusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { fleetConfig } from "../../gateway/fleet/src/config.ts";
import { shimConfig } from "@claviger/shim/src/config.ts";

type Json = { readonly [name: string]: unknown };

const text: Json = { type: "string" };
const texts: Json = { type: "array", items: text };
const objects: Json = { type: "array", items: { type: "object" } };
const labels: Json = { type: "object", additionalProperties: text };
const quantities: Json = { type: "object", additionalProperties: { type: ["string", "number"] } };

function strict(properties: Json, required: readonly string[] = []): Json {
  return { type: "object", properties, required, additionalProperties: false };
}

/** Sections of a configuration of which the chart gives what values.yaml leaves out. */
const filledIn = new Set(["listen", "admin", "tls", "certificates"]);

/**
 * The schema of a program's settings, as Helm's validator takes it: without defaults, which are the program's, and
 * without expressions, which are JavaScript's.
 */
function settings(schema: unknown, isWhole: boolean): unknown {
  if (Array.isArray(schema)) return schema.map((one) => settings(one, isWhole));
  if (typeof schema !== "object" || schema === null) return schema;
  const { pattern: _, default: __, $schema: ___, propertyNames: ____, properties, required, ...rest } = schema as Json;
  return {
    ...Object.fromEntries(Object.entries(rest).map(([name, of]) => [name, settings(of, isWhole)])),
    ...(properties !== undefined && {
      properties: Object.fromEntries(
        Object.entries(properties as Json).map(([name, of]) => {
          const inner = settings(of, isWhole) as Json;
          if (!isWhole || !filledIn.has(name)) return [name, inner];
          const { required: _____, ...open } = inner;
          return [name, open];
        }),
      ),
    }),
    ...(required !== undefined && { required }),
  };
}

function settingsOf(schema: z.core.$ZodType): Json {
  const { required: _, ...whole } = settings(
    z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }),
    true,
  ) as Json;
  return whole;
}

const record = settings(z.toJSONSchema(clusterRecord, { io: "input", unrepresentable: "any" }), false);
const image = /(?:^|\.)image\.digest$/;

/** What the value in values.yaml does not say of its kind, by the end of its path. The first that fits counts. */
const kinds: readonly (readonly [RegExp, Json])[] = [
  [/^gateway\.config$/, settingsOf(gatewayConfig)],
  [/^fleet\.config$/, settingsOf(fleetConfig)],
  [/^config$/, settingsOf(shimConfig)],
  [/^gateway\.registry\.clusters$/, { type: ["array", "null"], items: record }],
  [
    /^externalSecrets$/,
    {
      type: "array",
      items: strict(
        {
          name: text,
          refreshInterval: text,
          secretStoreRef: strict({ name: text, kind: { enum: ["SecretStore", "ClusterSecretStore"] } }, [
            "name",
            "kind",
          ]),
          data: { ...objects, minItems: 1 },
        },
        ["name", "secretStoreRef", "data"],
      ),
    },
  ],
  [/^imagePullSecrets$/, { type: "array", items: strict({ name: text }, ["name"]) }],
  [image, { type: "string", pattern: "^(sha256:[0-9a-f]{64})?$" }],
  [/\.pullPolicy$/, { enum: ["IfNotPresent", "Always", "Never"] }],
  [/\.service\.type$/, { enum: ["LoadBalancer", "NodePort", "ClusterIP"] }],
  [/\.issuerRef\.kind$/, { enum: ["Issuer", "ClusterIssuer"] }],
  [/(?:^|\.)user$/, { type: ["integer", "null"], minimum: 1 }],
  [/\.(?:replicas|minReplicas|maxReplicas)$/, { type: "integer", minimum: 1 }],
  [/\.maxUnavailable$/, { type: ["integer", "string"] }],
  [/\.expirationSeconds$/, { type: "integer", minimum: 600 }],
  [/(?:abels|nnotations|nodeSelector)$/, labels],
  [/affinity$/, { type: "object" }],
  [/resources$/, strict({ requests: quantities, limits: quantities })],
  [/^mode$/, { enum: ["static-pod", "daemonset"] }],
  [/^staticPod\.state$/, { enum: ["present", "absent"] }],
  [/^staticPod\.settleSeconds$/, { type: "integer", minimum: 10, maximum: 600 }],
  [/^hostPaths\.|^staticPod\.(?:manifests|tmpfiles|lookIn)$/, { type: "string", pattern: "^/[^/]" }],
  [/^encrypted$/, { ...texts, minItems: 1 }],
  [/(?:^|\.)(?:dnsNames|ipAddresses|uris|command|removed|loadBalancerSourceRanges)$/, texts],
  [/(?:tolerations|Constraints|extraVolumes|extraVolumeMounts|from|metricsFrom|egress|metrics)$/i, objects],
];

class Gap extends Error {
  override readonly name = "Gap";
}

/** The comment above a key: its last paragraph. */
function commentOf(pair: Pair, map: YAMLMap, isFirst: boolean): string {
  const own = isScalar(pair.key) ? pair.key.commentBefore : undefined;
  const comment = own ?? (isFirst ? map.commentBefore : undefined) ?? "";
  const last = comment.split(/\n\s*\n/).at(-1) ?? "";
  return last
    .split("\n")
    .map((line) => line.trim())
    .join(" ")
    .trim();
}

function schemaOf(pair: Pair, path: string): Json {
  const { value } = pair;
  const known = kinds.find(([pattern]) => pattern.test(path))?.[1];
  if (known !== undefined) return known;
  if (isMap(value)) return objectOf(value, path);
  const plain = isScalar(value) ? value.value : undefined;
  if (typeof plain === "number") return { type: "integer" };
  if (typeof plain === "string" || typeof plain === "boolean") return { type: typeof plain };
  throw new Gap(`${path}: infra/charts/schema.ts does not know of which kind it is`);
}

function objectOf(map: YAMLMap, path: string): Json {
  const properties = map.items.map((pair, i) => {
    const name = String(isScalar(pair.key) ? pair.key.value : pair.key);
    const at = path === "" ? name : `${path}.${name}`;
    const description = commentOf(pair, map, i === 0);
    if (description === "" && name !== "image") throw new Gap(`${at}: has no comment in values.yaml`);
    return [name, { ...(description !== "" && { description }), ...schemaOf(pair, at) }];
  });
  return strict(Object.fromEntries(properties) as Json);
}

function schemaFile(chart: string): string {
  const document = parseDocument(readFileSync(join(import.meta.dirname, chart, "values.yaml"), "utf8"));
  if (!isMap(document.contents)) throw new Gap(`${chart}/values.yaml is no mapping`);
  const { properties, ...rest } = objectOf(document.contents, "");
  const schema = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: `Values of the chart ${chart}`,
    description: "Generated by infra/charts/schema.ts from values.yaml and the programs' settings.",
    ...rest,
    // Helm gives a chart below another one what is for all of them.
    properties: { ...(properties as Json), global: { type: "object" } },
  };
  return `${JSON.stringify(schema, undefined, 1)}\n`;
}

const charts = readdirSync(import.meta.dirname).filter((name) =>
  existsSync(join(import.meta.dirname, name, "values.yaml")),
);
for (const chart of charts) {
  const file = join(import.meta.dirname, chart, "values.schema.json");
  const next = schemaFile(chart);
  if (process.argv[2] !== "--check") writeFileSync(file, next);
  else if (readFileSync(file, "utf8") !== next) {
    process.stderr.write(`${file}: is not what values.yaml and the programs say; run 'node infra/charts/schema.ts'\n`);
    process.exitCode = 1;
  }
}
