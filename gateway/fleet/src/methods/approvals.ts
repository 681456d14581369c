// FleetService: changes that wait for a second administrator.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ApprovalSchema } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import type { Approval, Approvals, RunApproved } from "../approvals/approvals.ts";
import { stateOf } from "../approvals/pending.ts";
import type { FleetMethods } from "../method.ts";
import { refuse } from "../refusal.ts";
import { asOperator, reasonOf } from "./request.ts";

function time(seconds: number): { readonly seconds: bigint; readonly nanos: number } {
  return { seconds: BigInt(seconds), nanos: 0 };
}

/** @param seconds Unix: now */
function messageOf({ id, pending }: Approval, seconds: number): MessageInitShape<typeof ApprovalSchema> {
  const { method, request, kinds, requestedBy, reason, usedAt, decidedBy = "", note = "" } = pending;
  return {
    id,
    state: stateOf(pending, seconds),
    kinds: [...kinds],
    method: method.charAt(0).toUpperCase() + method.slice(1),
    request,
    targets: pending.targets.map(({ cluster, uid, generation }) => ({ cluster, uid, generation: BigInt(generation) })),
    requestedBy,
    requestedAt: time(pending.askedAt),
    expiresAt: time(pending.expiresAt),
    reason,
    decidedBy,
    ...(usedAt !== undefined && { decidedAt: time(usedAt) }),
    note,
  };
}

/** @param approvals undefined where nothing takes two */
export function approvalMethods(
  approvals: Approvals | undefined,
  run: RunApproved,
): Pick<FleetMethods, "listApprovals" | "getApproval" | "approveChange" | "rejectChange"> {
  const rule = (): Approvals => {
    if (approvals === undefined)
      throw refuse("failed_precondition", "nothing takes a second administrator here: fleet.yaml has no 'approvals'");
    return approvals;
  };
  const message = (approval: Approval) => messageOf(approval, rule().seconds());
  return {
    async listApprovals({ all }, caller) {
      return { approvals: (await rule().list(asOperator(caller), all)).map(message) };
    },
    async getApproval({ id }, caller) {
      return { approval: message(await rule().one(asOperator(caller), id)) };
    },
    async approveChange({ id }, caller, subject) {
      return { approval: message(await rule().approve(asOperator(caller), id, subject, run)) };
    },
    async rejectChange({ id, reason }, caller, subject) {
      return { approval: message(await rule().reject(asOperator(caller), id, reasonOf(reason), subject)) };
    },
  };
}
