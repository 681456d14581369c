// The registry in a YAML file (GitOps). (docs/architecture.md #registry.)
import { readFile } from "node:fs/promises";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { openRegistry, type RegistryStore } from "./watched-registry.ts";

/** Keeps the promised second. */
const pollMs = 500;

/**
 * Opens the file and watches it by reading it again: sees an atomic rename, an edit in place and a
 * ConfigMap's symlink swap alike.
 * @throws ConfigError when the first read is not good: a gateway without a registry can serve
 * nobody, and a file that is missing now will be later
 */
export function openFileRegistry(options: {
  readonly file: string;
  readonly backends: ReadonlySet<string>;
  readonly log: Log;
}): Promise<RegistryStore> {
  const { file, backends, log } = options;
  const read = async (): Promise<string> => {
    try {
      return await readFile(file, "utf8");
    } catch (error) {
      throw new ConfigError(file, [`cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`]);
    }
  };
  return openRegistry({ source: file, read, backends, log, mustStart: true, pollMs });
}
