// The registry as commands read and edit it, wherever it lies. Every edit is held against the rules that
// gateways apply, and loses no other. (docs/architecture.md #registry.)
import { type ClusterRecord, type Registry, registryDigest } from "../record.ts";
import { addRecord, addRecords, type Change, changeRecord, readRegistry, recordOf, removeRecord } from "./text.ts";
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
  /** Adds a record; makes the registry when there is none yet. */
  readonly add: (record: NewRecord) => Promise<Edited>;
  /** Adds those records that `select` picks, by what the registry holds. Interrupted, it may be done again. */
  readonly addAll: (select: (before: Registry) => readonly NewRecord[]) => Promise<Edited>;
  /** Changes a record by what it holds, and raises its generation, but for labels alone. */
  readonly change: (name: string, next: Change) => Promise<Edited & { readonly earlier: ClusterRecord }>;
  /** Takes a cluster out. Its uid never stands under another name. */
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
    add: async (record) => edited(await addRecord(source, record)),
    addAll: async (select) => edited(await addRecords(source, select)),
    async change(name, next) {
      const { earlier, registry } = await changeRecord(source, name, next);
      return { earlier, ...edited(registry) };
    },
    remove: async (name) => edited(await removeRecord(source, name)),
  };
}
