// What refusals and callers are in audit records.
import type { AuditEntry } from "@claviger/gateway-core/src/audit/record.ts";
import type { Caller } from "../caller.ts";
import type { Code as RefusalCode } from "../refusal.ts";

export const outcomes: Readonly<Record<RefusalCode, AuditEntry["outcome"]>> = {
  invalid_argument: "invalid",
  not_found: "invalid",
  permission_denied: "denied",
  unauthenticated: "denied",
  already_exists: "invalid",
  failed_precondition: "invalid",
  aborted: "failed",
  resource_exhausted: "failed",
  unavailable: "failed",
  internal: "failed",
};

/** Who called, for the audit record. */
export function whoOf(caller: Caller | undefined): Partial<AuditEntry> {
  switch (caller?.kind) {
    case "operator":
      return { operator: caller.operator };
    case "node":
      return { cluster: caller.cluster, node: caller.node, serial: caller.serial };
    case "anonymous":
    case undefined:
      return {};
  }
}
