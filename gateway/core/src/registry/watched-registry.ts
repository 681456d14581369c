// The registry as the gateway holds it: read again and again, a bad edit keeps the last good one
// and says so loudly. Where it lies is another file's matter. (docs/architecture.md #registry.)
import { setTimeout as sleep } from "node:timers/promises";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { KmsError, toKmsError } from "@claviger/proto/wire/errors.ts";
import type { ClusterName } from "@claviger/proto/wire/names.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { type ClusterRecord, mergeRegistry, type Registry, registryDigest } from "./record.ts";

/** Which cluster uses which keys, as of the last good read. */
export interface RegistryStore {
  /**
   * The record of a cluster, or undefined when there is none. Never waits.
   * @throws KmsError backend_unavailable while nothing could be read yet, or where the cluster's record
   * is bad and none was good before
   */
  get(name: ClusterName): ClusterRecord | undefined;
  /** Every record; none while nothing could be read yet. */
  readonly list: () => readonly ClusterRecord[];
  /** See registryDigest, of what is in force; undefined while nothing could be read yet. */
  readonly digest: () => string | undefined;
  /** What is wrong with the newest edit, or undefined while it is the one in use. */
  problem(): string | undefined;
  /** Reads it again: a read that begins after this call, soon. Never rejects. */
  refresh(): Promise<void>;
  close(): void;
}

export type StoreOptions = {
  /** What messages call it. */
  readonly source: string;
  /** The YAML or JSON text. May reject with ConfigError or KmsError. */
  readonly read: () => Promise<string>;
  readonly backends: ReadonlySet<string>;
  readonly log: Log;
  /** Opening rejects when the first read is of no use; otherwise nobody is served until one is. */
  readonly mustStart: boolean;
  /** How long a change may go unseen, milliseconds. */
  readonly pollMs: number;
  /** Is it this replica's turn to read? Asked at each poll; not while the last read was no good. */
  readonly isDue?: () => Promise<boolean>;
  /** A poll, and no call of `refresh`, found another text. */
  readonly onFound?: () => void;
};

/** Whoever may write to Redis may send hints without end: they must not become a storm of reads. */
const spacingMs = 100;

function reasonOf(error: unknown): string {
  return error instanceof ConfigError ? error.message : `it cannot be read (${toKmsError(error).reason})`;
}

/**
 * Reads at once and keeps reading.
 * @throws what the first read threw, ConfigError for a bad registry, where it must start with a
 * good one
 */
export async function openRegistry({
  source,
  read,
  backends,
  log,
  mustStart,
  pollMs,
  isDue,
  onFound,
}: StoreOptions): Promise<RegistryStore> {
  let text: string | undefined;
  let registry: Registry | undefined;
  let digest: string | undefined;
  let broken: ReadonlySet<string> = new Set();
  let rejected: unknown;
  let problem: string | undefined;
  let failure: unknown;
  let isClosed = false;

  const parse = (newest: string): void => {
    text = newest;
    try {
      const renamed = new Set<string>();
      const merged = mergeRegistry(source, newest, backends, registry, (line) => renamed.add(line));
      ({ registry, broken } = merged);
      for (const line of renamed)
        log.warn({ event: "setting-renamed", problem: line }, "a setting has another name now");
      digest = registryDigest(registry);
      rejected = merged.problems.length === 0 ? undefined : new ConfigError(source, merged.problems);
      log.info({ event: "registry-changed", clusters: registry.size }, "the registry has changed");
    } catch (error) {
      rejected = error;
    }
  };
  const report = (error: unknown): void => {
    const now = error === undefined ? undefined : reasonOf(error);
    if (now !== undefined && now !== problem)
      log.error(
        { event: "registry-rejected", problem: now },
        "the registry is not usable as it is; in place of what is wrong the last good state stays in force",
      );
    problem = now;
  };
  const look = async (): Promise<void> => {
    try {
      const newest = await read();
      if (newest !== text) parse(newest);
      failure = rejected;
    } catch (error) {
      failure = error;
    }
    report(failure);
  };
  let readAt = Number.NEGATIVE_INFINITY;
  let current: Promise<void> = Promise.resolve();
  let waiting: Promise<void> | undefined;
  // Not joined to a read that is under way: it may have begun before the edit that the caller has
  // heard of.
  const refresh = (): Promise<void> => {
    waiting ??= (async () => {
      await current;
      await sleep(Math.max(0, readAt + spacingMs - performance.now()));
      waiting = undefined;
      readAt = performance.now();
      current = look();
      await current;
    })();
    return waiting;
  };
  const poll = async (): Promise<void> => {
    if (failure === undefined && isDue !== undefined && !(await isDue())) return;
    const before = text;
    await refresh();
    if (text !== before) onFound?.();
  };
  let timer: NodeJS.Timeout;
  const next = (): void => {
    if (!isClosed) timer = setTimeout(() => void poll().finally(next), pollMs).unref();
  };
  await refresh();
  if (mustStart && registry === undefined) throw failure as Error;
  next();

  return {
    get(name) {
      if (registry === undefined)
        throw new KmsError("backend_unavailable", { cause: new Error("the registry could not be read yet") });
      if (broken.has(name))
        throw new KmsError("backend_unavailable", { cause: new Error("its record in the registry is not usable") });
      return registry.get(name);
    },
    list: () => [...(registry?.values() ?? [])],
    digest: () => digest,
    problem: () => problem,
    refresh,
    close() {
      isClosed = true;
      clearTimeout(timer);
    },
  };
}
