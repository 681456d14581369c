// The schemas by which kubeconform checks: what a real kube-apiserver publishes of its kinds (OpenAPI v3), made strict,
// so that a field that no kind has is an error.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ApiServer } from "../../lab/kubernetes.ts";

type Schema = { readonly [name: string]: unknown };
type Kind = { readonly group: string; readonly version: string; readonly kind: string };

/** References by which a schema stands by itself; no further fields where the fields are named. */
function strict(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(strict);
  if (typeof schema !== "object" || schema === null) return schema;
  const own = Object.fromEntries(
    Object.entries(schema).map(([name, value]) => [
      name,
      name === "$ref" && typeof value === "string"
        ? value.replace("#/components/schemas/", "#/definitions/")
        : strict(value),
    ]),
  );
  const isClosed =
    typeof own["properties"] === "object" &&
    own["additionalProperties"] === undefined &&
    own["x-kubernetes-preserve-unknown-fields"] !== true;
  return isClosed ? { ...own, additionalProperties: false } : own;
}

/** Writes a file for each kind, and resolves with kubeconform's `-schema-location` of them. */
export async function writeStrictSchemas(api: ApiServer, dir: string): Promise<string> {
  mkdirSync(dir, { recursive: true });
  const { json: index } = await api.call<{ paths: Record<string, { serverRelativeURL: string }> }>(
    "GET",
    "/openapi/v3",
  );
  for (const [path, { serverRelativeURL }] of Object.entries(index.paths)) {
    if (!path.startsWith("api")) continue;
    const { json } = await api.call<{ components?: { schemas?: Record<string, Schema> } }>("GET", serverRelativeURL);
    const definitions = Object.fromEntries(
      Object.entries(json.components?.schemas ?? {}).map(([name, schema]) => [name, strict(schema) as Schema]),
    );
    for (const [name, schema] of Object.entries(definitions))
      for (const { group, version, kind } of (schema["x-kubernetes-group-version-kind"] ?? []) as Kind[])
        if (path.endsWith(version) && (group === "" || path.includes(`/${group}/`)))
          writeFileSync(
            // What kubeconform takes for the group of a core kind is its version.
            join(dir, `${group === "" ? version : group}_${version}_${kind.toLowerCase()}.json`),
            JSON.stringify({ $ref: `#/definitions/${name}`, definitions }),
          );
  }
  return join(dir, "{{.Group}}_{{.ResourceAPIVersion}}_{{.ResourceKind}}.json");
}
