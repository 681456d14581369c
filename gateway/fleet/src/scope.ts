// The registry as one caller may see and change it: what an operator's role is not for is not there.
import { clusterName } from "@claviger/proto/wire/names.ts";
import { clusterMessage, etagOf } from "@claviger/gateway-core/src/registry/cluster-message.ts";
import { type Change, changedFields } from "@claviger/gateway-core/src/registry/edit/change.ts";
import type { RegistryEditor } from "@claviger/gateway-core/src/registry/edit/editor.ts";
import type { AddOptions } from "@claviger/gateway-core/src/registry/edit/removed.ts";
import { checkRecord, type ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { refId } from "@claviger/gateway-core/src/key/key-id.ts";
import { type KeyPlace, usersOf } from "@claviger/gateway-core/src/retirement/look.ts";
import type { Caller, Operator } from "./caller.ts";
import type { ClusterCache } from "./cluster-cache.ts";
import type { Subject } from "./method.ts";
import { asOperator } from "./methods/request.ts";
import { findCluster } from "./open-registry.ts";
import { type Refusal, refuse } from "./refusal.ts";

export type EditOptions = {
  /** The etag that the caller saw; empty for any. */
  readonly ifEtag?: string;
  /** Checks everything and changes nothing. */
  readonly dryRun?: boolean;
  /** What speaks against it, by the record as it is. @throws Refusal */
  readonly check?: (record: ClusterRecord) => void;
};

/** What became of an edit; the version is empty where nothing was written. */
export type EditReply = { readonly cluster: ReturnType<typeof clusterMessage>; readonly registryVersion: string };

export type Scope = {
  /** The record of a cluster, which becomes the call's subject. @throws Refusal not_found */
  one(caller: Caller, name: string, subject: Subject): Promise<ClusterRecord>;
  /** Every record that the caller may see, by name. */
  all(caller: Caller): Promise<readonly ClusterRecord[]>;
  /** What is wrong with records as they stand; empty where all are good. */
  problem(): string;
  /** Changes a record, over the one that the caller saw where that is said. @throws Refusal aborted, not_found, EditError */
  edit(caller: Caller, name: string, subject: Subject, next: Change, options?: EditOptions): Promise<EditReply>;
  /** Takes a record out. @throws Refusal aborted, not_found, EditError */
  remove(caller: Caller, name: string, subject: Subject, options: EditOptions): Promise<EditReply>;
  /** Adds records. @returns the version of the registry. @throws Refusal permission_denied, EditError */
  add(caller: Caller, records: readonly ClusterRecord[], options: AddOptions): Promise<string>;
  /**
   * The clusters that the key of this one encrypts for, or did, itself among them.
   * @param place also those that reach the key under another backend's name
   * @throws Refusal permission_denied where one of them is none of the caller's
   */
  users(caller: Caller, record: ClusterRecord, place?: KeyPlace): Promise<readonly ClusterRecord[]>;
};

function outOfScope({ operator, clusters }: Operator, name: string): Refusal {
  return refuse(
    "permission_denied",
    `the role of ${operator} is for clusters with the labels ${clusters}, and ${name} would have others`,
  );
}

function notYours(name: string): Refusal {
  return refuse("not_found", `there is no cluster ${JSON.stringify(name.slice(0, 64))}, or it is none of yours`);
}

/** @throws Refusal aborted */
function checkEtag(record: ClusterRecord, ifEtag = ""): void {
  if (ifEtag !== "" && etagOf(record) !== ifEtag)
    throw refuse("aborted", `${record.name} was changed since you looked at it; look at it and do this again`);
}

export function createScope(registry: RegistryEditor, cache: ClusterCache): Scope {
  let last: Promise<unknown> = Promise.resolve();
  /** Runs what edits the registry, one after the other: a file has no check-and-set. */
  const inTurn = <T>(edit: () => Promise<T>): Promise<T> => {
    const turn = last.then(edit, edit);
    last = turn.catch(() => undefined);
    return turn;
  };
  const one: Scope["one"] = async (caller, name, subject) => {
    const { mayTouch } = asOperator(caller);
    if (!clusterName.is(name)) throw notYours(name);
    subject.target ??= name;
    const record = await findCluster(registry, name);
    if (record === undefined || !mayTouch(record)) throw notYours(name);
    return record;
  };
  /** What a change makes of a record, as it is when it is written. */
  const guarded = (operator: Operator, next: Change, { ifEtag, check }: EditOptions): Change => {
    return (record) => {
      if (!operator.mayTouch(record)) throw notYours(record.name);
      checkEtag(record, ifEtag);
      check?.(record);
      const changed = next(record);
      if (!operator.mayTouch({ ...record, ...changed })) throw outOfScope(operator, record.name);
      return changed;
    };
  };
  const edit: Scope["edit"] = async (caller, name, subject, next, options = {}) => {
    const record = await one(caller, name, subject);
    const change = guarded(asOperator(caller), next, options);
    if (options.dryRun === true) {
      const after = { ...record, ...changedFields(record, change) };
      const { problems } = checkRecord(after);
      if (problems.length > 0) throw refuse("failed_precondition", problems.join("; "));
      return { cluster: clusterMessage(after), registryVersion: "" };
    }
    const reply = await inTurn(async () => {
      const { earlier, version } = await registry.change(name, change);
      return { cluster: clusterMessage({ ...earlier, ...changedFields(earlier, next) }), registryVersion: version };
    });
    await cache.edited([record.name]);
    return reply;
  };
  return {
    one,
    async all(caller) {
      const { mayTouch } = asOperator(caller);
      return (await cache.all()).filter((record) => mayTouch(record));
    },
    problem: () => cache.problem() ?? "",
    edit,
    async remove(caller, name, subject, { ifEtag, check, dryRun }) {
      const checked = async (): Promise<ClusterRecord> => {
        const record = await one(caller, name, subject);
        checkEtag(record, ifEtag);
        check?.(record);
        return record;
      };
      if (dryRun === true) return { cluster: clusterMessage(await checked()), registryVersion: "" };
      const { record, version } = await inTurn(async () => {
        const found = await checked();
        return { record: found, ...(await registry.remove(name)) };
      });
      await cache.edited([record.name]);
      return { cluster: clusterMessage(record), registryVersion: version };
    },
    async add(caller, records, options) {
      const operator = asOperator(caller);
      const usersOf = usersIn(await cache.all());
      for (const record of records) {
        if (!operator.mayTouch(record)) throw outOfScope(operator, record.name);
        assertOwn(operator, record, usersOf(record));
      }
      const { version } = await inTurn(() => registry.add(records, options));
      if (options.dryRun === true) return "";
      await cache.edited(records.map(({ name }) => name));
      return version;
    },
    async users(caller, record, place) {
      const all = await cache.all();
      const users = new Set([...usersIn(all)(record), ...(place === undefined ? [] : usersOf(all, place))]);
      return assertOwn(asOperator(caller), record, [...users]);
    },
  };
}

/** The clusters that one of a record's keys encrypts for, or did. */
function usersIn(all: readonly ClusterRecord[]): (record: ClusterRecord) => readonly ClusterRecord[] {
  const refsOf = ({ keys, previousKeys }: ClusterRecord) => new Set([...keys, ...previousKeys].map(refId));
  const byKey = new Map<string, ClusterRecord[]>();
  for (const record of all)
    for (const id of refsOf(record)) {
      const users = byKey.get(id);
      if (users === undefined) byKey.set(id, [record]);
      else users.push(record);
    }
  return (record) => [...new Set([...refsOf(record)].flatMap((id) => byKey.get(id) ?? []))];
}

/** @throws Refusal permission_denied where a key of the record is also that of a cluster that is none of theirs */
function assertOwn(
  { mayTouch }: Operator,
  { name }: ClusterRecord,
  users: readonly ClusterRecord[],
): readonly ClusterRecord[] {
  if (users.some((user) => !mayTouch(user)))
    throw refuse("permission_denied", `a key of ${name} is also that of a cluster that is none of yours`);
  return users;
}
