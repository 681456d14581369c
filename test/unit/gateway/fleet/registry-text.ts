// The registry of a fleet service under test: two clusters, as a file or as a directory of files.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import type { RegistryConfig } from "@claviger/gateway-core/src/registry/open.ts";

export const registryText = `clusters:
  - name: blue
    uid: 01M8CZX875MFSCYTBWR058VXTG
    state: suspended
    rotation: auto
    labels: { team: blue }
    nodes: { revoked: [gone] }
    keys: [{ backend: main, mount: transit, key: blue }]
  - name: red
    uid: 01M8CZX875MFSCYTBWR058VXTH
    state: active
    rotation: auto
    labels: { team: red }
    keys: [{ backend: main, mount: transit, key: red }]
`;

/** The same registry, as a file or as a directory with a file for each cluster. */
export function writeRegistry(dir: string, kind: "file" | "directory"): RegistryConfig {
  if (kind === "file") {
    const file = join(dir, "clusters.yaml");
    writeFileSync(file, registryText);
    return { kind, file };
  }
  const directory = join(dir, "clusters");
  mkdirSync(directory);
  const { clusters } = parse(registryText) as { readonly clusters: readonly { readonly name: string }[] };
  for (const record of clusters) writeFileSync(join(directory, `${record.name}.yaml`), stringify(record));
  return { kind, directory };
}

/** All of its text. */
export function textOf(config: RegistryConfig): string {
  if (config.kind === "file") return readFileSync(config.file, "utf8");
  if (config.kind === "vault") throw new Error("no Vault here");
  const { directory } = config;
  return readdirSync(directory)
    .toSorted()
    .map((file) => readFileSync(join(directory, file), "utf8"))
    .join("");
}
