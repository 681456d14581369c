// Stands between every method and the registry: a change that takes a second administrator stops here, just
// before it would be written, and goes on when it was approved over this very record.
import { AsyncLocalStorage } from "node:async_hooks";
import type { RegistryEditor } from "@claviger/gateway-core/src/registry/edit/editor.ts";
import { changedFields } from "@claviger/gateway-core/src/registry/edit/change.ts";
import { checkRecord, type ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { Caller } from "../caller.ts";
import type { Subject } from "../method.ts";
import { refuse } from "../refusal.ts";
import { type Kind, kindsOfChange, kindsOfRemoval } from "./kinds.ts";
import { type Target, targetOf } from "./pending.ts";

/** What a second administrator has let through. */
export type Approved = { readonly kinds: readonly Kind[]; readonly targets: readonly Target[] };

/** A change was checked, and is not made: it needs a second administrator. */
export class NeedsApproval extends Error {
  override readonly name = "NeedsApproval";
  readonly kinds: readonly Kind[];
  readonly targets: readonly Target[];

  constructor(needed: readonly Kind[], targets: readonly Target[]) {
    super(`needs a second administrator: ${needed.join(", ")}`);
    this.kinds = needed;
    this.targets = targets;
  }
}

/** Whose call it is, and what it was approved for. */
export type Call = { readonly caller: Caller; readonly subject: Subject; readonly approved?: Approved };

export type Gate = {
  /** Runs a call: what it edits is held against what it was approved for. */
  run<T>(call: Call, work: () => Promise<T>): Promise<T>;
  /** For what a call does elsewhere than in the registry, before it does it. @throws NeedsApproval, Refusal */
  check(done: readonly Kind[], ...records: readonly ClusterRecord[]): void;
  /** The registry behind the gate. */
  readonly registry: RegistryEditor;
};

/**
 * A cluster that was removed is opened by nobody alone: it comes back suspended, and its resumption takes two.
 * @throws Refusal
 */
function checkRestored(records: readonly Pick<ClusterRecord, "name" | "state">[], needing: ReadonlySet<Kind>): void {
  if (needing.size === 0) return;
  if (!needing.has("resume"))
    throw refuse(
      "failed_precondition",
      "a cluster that was removed comes back in the registry itself: approvals.methods of fleet.yaml does not list resume, which would take two",
    );
  const open = records.find(({ state }) => state !== "suspended");
  if (open !== undefined)
    throw refuse(
      "failed_precondition",
      `${open.name} would come back ${open.state}: let it come back suspended; its resumption takes a second administrator`,
    );
}

export type EditHooks = {
  /** A record is about to be written. @returns to be called when it was, and `edited` with it, or when it was not */
  readonly begins: (name: string) => () => void;
  /** It was; `after` is undefined where it was removed. */
  readonly edited: (name: ClusterRecord["name"], after: ClusterRecord | undefined, call: Call) => void;
};
const noHooks: EditHooks = { begins: () => () => {}, edited: () => {} };

/**
 * @param needing what takes two; empty for nothing
 * @param hooks hear of each edit
 */
export function createGate(
  editor: RegistryEditor,
  needing: ReadonlySet<Kind>,
  { begins, edited: onEdited }: EditHooks = noHooks,
): Gate {
  const calls = new AsyncLocalStorage<Call>();
  const current = (): Call => {
    const call = calls.getStore();
    if (call === undefined) throw new TypeError("the registry is edited by calls alone");
    return call;
  };
  const check: Gate["check"] = (done, ...records) => {
    const { approved } = current();
    const needed = [...new Set(done)].filter((kind) => needing.has(kind));
    const targets = records.map(targetOf);
    if (approved === undefined) {
      if (needed.length > 0) throw new NeedsApproval(needed, targets);
      return;
    }
    for (const now of targets) {
      const then = approved.targets.find(({ cluster }) => cluster === now.cluster);
      if (then?.uid !== now.uid || then.digest !== now.digest)
        throw refuse("failed_precondition", `${now.cluster} has changed since this was asked for; ask for it again`);
    }
    if (needed.some((kind) => !approved.kinds.includes(kind)))
      throw refuse("failed_precondition", "this does more than was asked for; ask for it again");
  };
  const during = async <T>(names: readonly string[], work: () => Promise<T>): Promise<T> => {
    const ends = names.map(begins);
    try {
      return await work();
    } finally {
      for (const end of ends) end();
    }
  };
  return {
    run: (call, work) => calls.run(call, work),
    check,
    registry: {
      ...editor,
      change: (name, next) =>
        during([name], async () => {
          const edited = await editor.change(name, (record) => {
            const fields = next(record);
            check(kindsOfChange(record, fields), record);
            return fields;
          });
          const { earlier } = edited;
          onEdited(earlier.name, { ...earlier, ...changedFields(earlier, next) }, current());
          return edited;
        }),
      async add(records, options) {
        const isMade = options?.dryRun !== true;
        if (options?.restores === true && isMade) checkRestored(records, needing);
        const names = isMade ? records.map(({ name }) => name) : [];
        return await during(names, async () => {
          const edited = await editor.add(records, options);
          for (const { record } of isMade ? records.map(checkRecord) : [])
            if (record !== undefined) onEdited(record.name, record, current());
          return edited;
        });
      },
      remove: (name) =>
        during([name], async () => {
          const record = await editor.one(name);
          check(kindsOfRemoval(record), record);
          const edited = await editor.remove(name);
          onEdited(record.name, undefined, current());
          return edited;
        }),
    },
  };
}
