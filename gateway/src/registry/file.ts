// The registry in a YAML file (GitOps). Watched; a bad edit keeps the last good one and says so loudly. (Design section 4.)
import { readFile } from "node:fs/promises";
import { ConfigError } from "@claviger/proto/config.ts";
import type { ClusterName } from "@claviger/proto/names.ts";
import type { Log } from "@claviger/proto/log.ts";
import { type ClusterRecord, parseRegistry, type Registry } from "./record.ts";

/** Which cluster uses which keys, as of the last good read. */
export interface RegistryStore {
  /** The record of a cluster, or undefined when there is none. Never waits. */
  get(name: ClusterName): ClusterRecord | undefined;
  /** Every record. */
  readonly list: () => readonly ClusterRecord[];
  /** What is wrong with the newest edit, or undefined while it is the one in use. */
  problem(): string | undefined;
  close(): void;
}

/**
 * Opens the file and watches it by reading it again: sees an atomic rename, an edit in place and a ConfigMap's symlink swap alike.
 * @param pollMs how long a change may go unseen; 500 keeps the promised second
 * @throws ConfigError when the first read fails: a gateway without a registry can serve nobody
 */
export const openFileRegistry = async ({
  file,
  backends,
  log,
  pollMs = 500,
}: {
  readonly file: string;
  readonly backends: ReadonlySet<string>;
  readonly log: Log;
  readonly pollMs?: number;
}): Promise<RegistryStore> => {
  const read = async (): Promise<string> => {
    try {
      return await readFile(file, "utf8");
    } catch (error) {
      throw new ConfigError(file, [`cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`]);
    }
  };
  let text = await read();
  let registry: Registry = parseRegistry(file, text, backends, undefined);
  let rejected: string | undefined;
  let problem: string | undefined;

  const parse = (): void => {
    try {
      registry = parseRegistry(file, text, backends, registry);
      rejected = undefined;
      log.info({ event: "registry-changed", clusters: registry.size }, "the registry has changed");
    } catch (error) {
      rejected = error instanceof ConfigError ? error.message : "cannot be parsed";
    }
  };
  const report = (now: string | undefined): void => {
    if (now !== undefined && now !== problem)
      log.error({ event: "registry-rejected", problem: now }, "the registry is not usable; the last good one stays in force");
    problem = now;
  };
  const look = async (): Promise<void> => {
    try {
      const newest = await read();
      if (newest !== text) {
        text = newest;
        parse();
      }
      report(rejected);
    } catch (error) {
      report(error instanceof ConfigError ? error.message : "cannot be read");
    }
  };
  let timer: NodeJS.Timeout;
  const next = (): void => {
    timer = setTimeout(() => void look().finally(next), pollMs).unref();
  };
  next();

  return {
    get: (name) => registry.get(name),
    list: () => [...registry.values()],
    problem: () => problem,
    close: () => clearTimeout(timer),
  };
};
