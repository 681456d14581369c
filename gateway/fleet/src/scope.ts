// The registry as one caller may see and change it: what an operator's role is not for is not there.
import { clusterName } from "@claviger/proto/wire/names.ts";
import type { RegistryEditor } from "@claviger/gateway-core/src/registry/edit/editor.ts";
import { type Change, changedFields } from "@claviger/gateway-core/src/registry/edit/change.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { Caller } from "./caller.ts";
import type { Subject } from "./method.ts";
import { asOperator } from "./methods/request.ts";
import { findCluster } from "./open-registry.ts";
import { refuse } from "./refusal.ts";

export type Scope = {
  /** The record of a cluster, which becomes the call's subject. @throws Refusal not_found */
  one(caller: Caller, name: string, subject: Subject): Promise<ClusterRecord>;
  /** Every record that the caller may see, by name. */
  all(caller: Caller): Promise<readonly ClusterRecord[]>;
  /** Changes a record, and resolves with it as it is then. @throws Refusal not_found, EditError */
  change(caller: Caller, name: string, subject: Subject, next: Change): Promise<ClusterRecord>;
  /** Runs what edits the registry, one after the other: a file has no check-and-set. */
  inTurn<T>(edit: () => Promise<T>): Promise<T>;
};

export function createScope(registry: RegistryEditor): Scope {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(edit: () => Promise<T>): Promise<T> => {
    const turn = last.then(edit, edit);
    last = turn.catch(() => undefined);
    return turn;
  };
  const one: Scope["one"] = async (caller, name, subject) => {
    const { mayTouch } = asOperator(caller);
    const missing = (): Error =>
      refuse("not_found", `there is no cluster ${JSON.stringify(name.slice(0, 64))}, or it is none of yours`);
    if (!clusterName.is(name)) throw missing();
    subject.target ??= name;
    const record = await findCluster(registry, name);
    if (record === undefined || !mayTouch(record)) throw missing();
    return record;
  };
  return {
    one,
    inTurn,
    async all(caller) {
      const { mayTouch } = asOperator(caller);
      return [...(await registry.all("empty")).values()]
        .filter((record) => mayTouch(record))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1));
    },
    async change(caller, name, subject, next) {
      await one(caller, name, subject);
      return await inTurn(async () => {
        const { earlier } = await registry.change(name, next);
        return { ...earlier, ...changedFields(earlier, next) };
      });
    },
  };
}
