// FleetService: the audit records of this replica, and how they are kept.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type * as pb from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import type { AuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import type { Outcome } from "@claviger/gateway-core/src/audit/record.ts";
import type { AuditRecords, Found } from "../audit/records.ts";
import type { Verification, Verifying } from "../audit/verification.ts";
import type { Caller } from "../caller.ts";
import type { FleetMethods } from "../method.ts";
import { refuse } from "../refusal.ts";
import type { Scope } from "../scope.ts";
import { asOperator } from "./request.ts";
import { millisecondsOf, timeOf } from "./time.ts";

const pages = { usual: 100, most: 500 } as const;
/** A record stands in its place within this after its call has come; those of streams do not. */
const orderMs = 60_000;
const mostFindings = 20;
const outcomes: ReadonlySet<string> = new Set(["ok", "denied", "invalid", "failed"] satisfies Outcome[]);

/** Where records are, and who judges them. */
export type AuditAccess = {
  readonly replica: string;
  readonly required: boolean;
  readonly sinks: AuditLog["sinks"];
  readonly kept: AuditRecords;
  /** Absent where records are in no file. */
  readonly verifying?: Verifying | undefined;
};

function recordMessage(found: Found): MessageInitShape<typeof pb.AuditRecordSchema> {
  const { at, method, outcome, milliseconds, sequence } = found;
  const text = (value: string | undefined): string => value ?? "";
  return {
    at: timeOf(at),
    method,
    outcome,
    milliseconds,
    operator: text(found.operator),
    cluster: text(found.cluster),
    node: text(found.node),
    serial: text(found.serial),
    target: text(found.target),
    reason: text(found.because),
    cause: text(found.cause),
    approval: text(found.approval),
    requestedBy: text(found.requestedBy),
    change: text(found.change),
    peer: text(found.peer),
    chain: text(found.chain),
    sequence: BigInt(sequence ?? 0),
  };
}

function clustersOf({ cluster, target = "" }: Found): readonly string[] {
  const [names = ""] = target.split("/");
  return [...(cluster === undefined ? [] : [cluster]), ...names.split(",").filter((name) => name !== "")];
}

function verificationMessage({ at, report }: Verification): MessageInitShape<typeof pb.AuditVerificationSchema> {
  const { findings, more, unchecked, records } = report;
  const total = findings.length + more;
  return {
    at: timeOf(at),
    result: total > 0 ? "tampered" : unchecked.length > 0 ? "unchecked" : "good",
    records,
    findings: findings.slice(0, mostFindings).map(({ file, line, kind, text }) => ({ file, line, kind, text })),
    findingsTotal: total,
    unchecked: [...unchecked],
  };
}

export function auditMethods(
  scope: Scope,
  { replica, required, sinks, kept, verifying }: AuditAccess,
): Pick<FleetMethods, "searchAudit" | "getAuditState"> {
  /** Which records the caller may see. */
  const visibleTo = async (caller: Caller): Promise<(found: Found) => boolean> => {
    const { operator, clusters } = asOperator(caller);
    if (clusters === "") return () => true;
    const own = new Set<string>((await scope.all(caller)).map(({ name }) => name));
    return (found) => {
      const about = clustersOf(found);
      return (
        found.operator === operator ||
        found.requestedBy === operator ||
        (about.length > 0 && about.every((name) => own.has(name)))
      );
    };
  };
  /** Of the newest record of some methods. */
  const newest = async (isWanted: (found: Found) => boolean): Promise<Found | undefined> => {
    const { found } = await kept.page({ isWanted, isOver: () => false, size: 1, from: "" });
    return found[0];
  };

  return {
    async searchAudit({ pageSize, pageToken, since, until, operator, target, methods, outcomes: wanted }, caller) {
      if (pageSize > pages.most) throw refuse("invalid_argument", `page_size: must be at most ${pages.most}`);
      const wrong = wanted.find((one) => !outcomes.has(one));
      if (wrong !== undefined) throw refuse("invalid_argument", `outcomes: must be among ${[...outcomes].join(", ")}`);
      const isVisible = await visibleTo(caller);
      const [from, to] = [since && millisecondsOf(since), until && millisecondsOf(until)];
      const isAbout = (found: Found): boolean =>
        target === "" ||
        found.target === target ||
        clustersOf(found).includes(target) ||
        `${found.cluster}/${found.node}` === target;
      const { found, next, incomplete } = await kept.page({
        from: pageToken,
        size: pageSize === 0 ? pages.usual : pageSize,
        isOver: ({ method, at }) => from !== undefined && method !== "watchEvents" && at < from - orderMs,
        isWanted: (one) =>
          one.at >= (from ?? one.at) &&
          one.at <= (to ?? one.at) &&
          (operator === "" || one.operator === operator || one.requestedBy === operator) &&
          (methods.length === 0 || methods.includes(one.method)) &&
          (wanted.length === 0 || wanted.includes(one.outcome)) &&
          isAbout(one) &&
          isVisible(one),
      });
      return { records: found.map(recordMessage), nextPageToken: next, incomplete, replica };
    },
    async getAuditState({ verify }) {
      const verification = verify && verifying !== undefined ? await verifying.look() : verifying?.last();
      const last = await newest(({ chain }) => chain !== undefined);
      const signed = await newest(({ head }) => head !== undefined);
      return {
        replica,
        required,
        file: kept.file ?? "",
        sinks: sinks().map(({ name, problem = "", since, missed }) => ({
          name,
          problem,
          missed,
          ...(since !== undefined && { since: timeOf(since) }),
        })),
        chain: last?.chain ?? "",
        sequence: BigInt(last?.sequence ?? 0),
        ...(signed?.head !== undefined && {
          signedAt: timeOf(signed.at),
          signedSequence: BigInt(signed.head.sequence),
        }),
        ...(verification !== undefined && { verification: verificationMessage(verification) }),
      };
    },
  };
}
