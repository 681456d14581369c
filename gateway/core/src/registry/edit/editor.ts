// The registry as commands read and edit it, wherever it lies. Every edit is held against the rules that
// gateways apply, and loses no other. (docs/architecture.md #registry.)
import { type ClusterRecord, type Registry, registryDigest } from "../record.ts";
import type { Change } from "./change.ts";
import type { AddOptions } from "./removed.ts";
import { addRecords, changeRecord, readRegistry, recordOf, removeRecord } from "./text.ts";
import type { NewRecord } from "./record-text.ts";
import type { RegistrySource } from "./source.ts";

/** What gateways name when they have the edit in force (RegistryStore.version). */
export type Edited = { readonly version: string };

/**
 * Errors: ConfigError with everything that is wrong with the registry; EditError where there is no such
 * cluster, a rule is broken, or somebody else edited it at the same time: nothing is written then.
 */
export interface RegistryEditor {
  /** What messages call it. */
  readonly name: string;
  /** The backends that the gateways know. */
  readonly backends: Pick<ReadonlySet<string>, "has">;
  /** Every record. @param missing what a registry that is not there yet is */
  readonly all: (missing?: "error" | "empty") => Promise<Registry>;
  /** One record. */
  readonly one: (name: string) => Promise<ClusterRecord>;
  /**
   * Adds records; makes the registry when there is none yet. What is wrong with one of them leaves all of
   * them out. Interrupted, it may be done again with those that are missing.
   */
  readonly add: (records: readonly NewRecord[], options?: AddOptions) => Promise<Edited>;
  /** The same with those that `select` picks, by all that the registry holds. */
  readonly addAll: (select: (before: Registry) => readonly NewRecord[], options?: AddOptions) => Promise<Edited>;
  /** Changes a record by what it holds, and raises its generation (changedFields). */
  readonly change: (name: string, next: Change) => Promise<Edited & { readonly earlier: ClusterRecord }>;
  /** Takes a cluster out. Its uid never stands under another name, nor under its own but with `restores`. */
  readonly remove: (name: string) => Promise<Edited>;
}

/** A registry that is one text. */
export function textEditor(source: RegistrySource): RegistryEditor {
  const edited = (after: Registry): Edited => ({ version: registryDigest(after) });
  return {
    name: source.name,
    backends: source.backends,
    all: (missing) => readRegistry(source, missing),
    one: async (name) => recordOf(await readRegistry(source), name),
    add: async (records, options = {}) => edited(await addRecords(source, () => records, options)),
    addAll: async (select, options = {}) => edited(await addRecords(source, select, options)),
    async change(name, next) {
      const { earlier, registry } = await changeRecord(source, name, next);
      return { earlier, ...edited(registry) };
    },
    remove: async (name) => edited(await removeRecord(source, name)),
  };
}
