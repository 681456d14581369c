// The two-person rule: keeps changes that were checked and need a second administrator, and makes each of them at
// most once, in the name of whoever asked for it. (docs/architecture.md #control-plane.)
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { checkNeed, type Operator } from "../caller.ts";
import { type UnaryName, needs, type Subject } from "../method.ts";
import { type Refusal, refuse, toRefusal } from "../refusal.ts";
import type { Approved, NeedsApproval } from "./gate.ts";
import {
  type ApprovalStore,
  type Asked,
  idOf,
  isApprovalId,
  newNonce,
  type Pending,
  stateOf,
  targetOf,
  timeOf,
} from "./pending.ts";
import type { PersonOf } from "./people.ts";
import type { StandingOf } from "./standing.ts";

/** Of one operator at the same time. */
const mostWaiting = 20;
/** Of what waits no longer, so far back one is shown. Seconds. */
const shownFor = 7 * 86_400;
const mostShown = 500;
const readTogether = 16;
const callMs = 10_000;

export type Approval = { readonly id: string; readonly pending: Pending };

/** Makes a change that was approved: the method, from its request as JSON. */
export type RunApproved = (
  method: string,
  request: string,
  requester: Operator,
  subject: Subject,
  approved: Approved,
) => Promise<void>;

export type Approvals = {
  /** Keeps a change. @returns what its caller is told */
  ask(method: UnaryName, request: string, caller: Operator, subject: Subject, needed: NeedsApproval): Promise<Refusal>;
  /** Those that an operator may see, newest first. */
  list(caller: Operator, all: boolean): Promise<readonly Approval[]>;
  /** @throws Refusal not_found */
  one(caller: Operator, id: string): Promise<Approval>;
  /** @throws Refusal */
  approve(caller: Operator, id: string, subject: Subject, run: RunApproved): Promise<Approval>;
  /** @throws Refusal */
  reject(caller: Operator, id: string, why: string, subject: Subject): Promise<Approval>;
  readonly seconds: () => number;
};

function missing(id: string): Refusal {
  return refuse("not_found", `there is no approval ${JSON.stringify(id.slice(0, 64))}, or it is none of yours`);
}

/** @param milliseconds Unix */
function floor(milliseconds: number): number {
  return Math.floor(milliseconds / 1000);
}

function timeText(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(".000", "");
}

export function createApprovals({
  store,
  ttlSeconds,
  personOf,
  standingOf,
  clusterOf,
  log,
  now = Date.now,
}: {
  readonly store: ApprovalStore;
  readonly ttlSeconds: number;
  readonly personOf: PersonOf;
  readonly standingOf: StandingOf;
  /** The record of a cluster; undefined where there is none. */
  readonly clusterOf: (name: ClusterRecord["name"]) => Promise<ClusterRecord | undefined>;
  readonly log: Log;
  readonly now?: () => number;
}): Approvals {
  const signal = (): AbortSignal => AbortSignal.timeout(callMs);
  const seconds = (): number => floor(now());

  /** May an operator see it: are all of its clusters theirs? */
  const isFor = async ({ clusters, mayTouch }: Operator, { targets }: Pending): Promise<boolean> => {
    for (const { cluster } of targets) {
      const record = await clusterOf(cluster);
      if (record === undefined ? clusters !== "" : !mayTouch(record)) return false;
    }
    return true;
  };
  const read = async (id: string): Promise<Approval | undefined> => {
    const pending = await store.read(id, signal());
    if (pending === undefined) return undefined;
    if (idOf(pending) === id) return { id, pending };
    log.error({ event: "approval-altered", approval: id }, "a change that waits was altered in its store");
    return undefined;
  };
  const recent = async (): Promise<readonly Approval[]> => {
    const since = seconds() - Math.max(shownFor, ttlSeconds);
    const ids = (await store.list(signal())).filter((id) => isApprovalId(id) && timeOf(id) >= since);
    const newest = ids.toSorted((a, b) => (a < b ? 1 : -1)).slice(0, mostShown);
    const found: (Approval | undefined)[] = [];
    for (let i = 0; i < newest.length; i += readTogether)
      found.push(...(await Promise.all(newest.slice(i, i + readTogether).map(read))));
    return found.filter((approval) => approval !== undefined);
  };
  const isWaiting = ({ pending }: Approval): boolean => stateOf(pending, seconds()) === "pending";
  const one: Approvals["one"] = async (caller, id) => {
    const found = isApprovalId(id) ? await read(id) : undefined;
    if (found === undefined) throw missing(id);
    const isOwn = personOf(caller.operator) === personOf(found.pending.requestedBy);
    if (!isOwn && !(await isFor(caller, found.pending))) throw missing(id);
    return found;
  };
  /** @throws Refusal for one that waits no longer */
  const waiting = async (caller: Operator, id: string, subject: Subject): Promise<Pending> => {
    const { pending } = await one(caller, id);
    subject.target = pending.targets.map(({ cluster }) => cluster).join(",");
    subject.approval = id;
    subject.requestedBy = pending.requestedBy;
    subject.change = pending.method;
    if (pending.usedAt !== undefined)
      throw refuse(
        "failed_precondition",
        `approval ${id} was ${pending.decision ?? "decided"} by ${pending.decidedBy ?? "somebody"}; a change is made once: ask for it again`,
      );
    if (pending.expiresAt <= seconds())
      throw refuse("failed_precondition", `approval ${id} has expired; the change must be asked for again`);
    return pending;
  };
  const take = async (id: string, more: Partial<Pending>): Promise<void> => {
    if (!(await store.use(id, { ...more, usedAt: seconds() }, signal())))
      throw refuse("failed_precondition", `approval ${id} was decided by somebody else at the same time`);
  };
  /** Is everything as it was when the change was asked for? @throws Refusal */
  const assertCurrent = async (pending: Pending): Promise<Operator> => {
    const { requestedBy, groups, expiresAt } = pending;
    const requester = standingOf({ operator: requestedBy, groups }, expiresAt * 1000);
    if (requester === undefined)
      throw refuse("failed_precondition", `${requestedBy}, who asked for this, has no role any more`);
    checkNeed(needs[pending.method as UnaryName], requester);
    for (const { cluster, uid, digest } of pending.targets) {
      const record = await clusterOf(cluster);
      const is = record && targetOf(record);
      if (is?.uid !== uid || is.digest !== digest)
        throw refuse("failed_precondition", `${cluster} has changed since this was asked for; ask for it again`);
    }
    return requester;
  };
  const told = ({ id, pending }: Approval): Refusal =>
    refuse(
      "failed_precondition",
      `this takes a second administrator, and waits for one until ${timeText(pending.expiresAt)}: claviger approvals approve ${id}`,
      { id, expiresAt: pending.expiresAt },
    );

  return {
    seconds,
    one,
    async ask(method, request, caller, subject, { kinds, targets }) {
      const own = (await recent()).filter(
        (approval) => isWaiting(approval) && approval.pending.requestedBy === caller.operator,
      );
      const same = own.find(
        ({ pending }) =>
          pending.method === method &&
          pending.request === request &&
          JSON.stringify(pending.targets) === JSON.stringify(targets),
      );
      if (same !== undefined) {
        subject.approval = same.id;
        return told(same);
      }
      if (own.length >= mostWaiting)
        return refuse(
          "resource_exhausted",
          `${own.length} changes of ${caller.operator} wait for a second administrator; see: claviger approvals list`,
        );
      const asked: Asked = {
        kinds: [...kinds],
        method,
        request,
        targets: [...targets],
        requestedBy: caller.operator,
        reason: subject.because ?? "",
        askedAt: seconds(),
        // Who is in a group is known for as long as the token counts.
        expiresAt: Math.min(seconds() + ttlSeconds, caller.groups === undefined ? Infinity : floor(caller.until)),
        ...(caller.groups && { groups: [...caller.groups] }),
        nonce: newNonce(),
      };
      const id = idOf(asked);
      await store.add(id, asked, signal());
      subject.approval = id;
      return told({ id, pending: asked });
    },
    async list(caller, all) {
      const shown: Approval[] = [];
      for (const approval of await recent())
        if ((all || isWaiting(approval)) && (await isFor(caller, approval.pending))) shown.push(approval);
      return shown;
    },
    async approve(caller, id, subject, run) {
      const pending = await waiting(caller, id, subject);
      subject.because = pending.reason;
      if (personOf(caller.operator) === personOf(pending.requestedBy))
        throw refuse("permission_denied", `${pending.requestedBy} asked for this; it takes another administrator`);
      if (!(await isFor(caller, pending))) throw missing(id);
      const requester = await assertCurrent(pending);
      await take(id, { decision: "approved", decidedBy: caller.operator });
      const own: Subject = {};
      try {
        await run(pending.method, pending.request, requester, own, pending);
      } catch (error) {
        const refusal = toRefusal(error);
        await store.amend(id, { isDone: false, note: refusal.message.slice(0, 1024) }, signal());
        throw error;
      }
      subject.target = own.target ?? subject.target ?? "";
      await store.amend(id, { isDone: true }, signal());
      return { id, pending: (await store.read(id, signal())) ?? pending };
    },
    async reject(caller, id, why, subject) {
      const pending = await waiting(caller, id, subject);
      subject.because = why;
      if (personOf(caller.operator) !== personOf(pending.requestedBy)) checkNeed("admin", caller);
      await take(id, { decision: "rejected", decidedBy: caller.operator, note: why });
      return { id, pending: (await store.read(id, signal())) ?? pending };
    },
  };
}
