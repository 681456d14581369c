// What calls leave in audit records and in the log, however they end.
import type { AuditEntry } from "@claviger/gateway-core/src/audit/record.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { Caller } from "../caller.ts";
import type { Subject } from "../method.ts";
import { type Code as RefusalCode, type Refusal, toRefusal } from "../refusal.ts";

const outcomes: Readonly<Record<RefusalCode, AuditEntry["outcome"]>> = {
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
function whoOf(caller: Caller | undefined): Partial<AuditEntry> {
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

const mostCause = 256;

/** The record of a call that ends now. `at`: when it came, Unix milliseconds; `refusal` is absent where it was served. */
export function entryOf({
  at,
  method,
  peer,
  caller,
  subject,
  refusal,
}: {
  readonly at: number;
  readonly method: string;
  readonly peer: string | undefined;
  readonly caller?: Caller | undefined;
  readonly subject?: Subject;
  readonly refusal?: Pick<Refusal, "code" | "message"> | undefined;
}): AuditEntry {
  return {
    at,
    method,
    milliseconds: Date.now() - at,
    outcome: refusal === undefined ? "ok" : outcomes[refusal.code],
    ...whoOf(caller),
    ...subject,
    ...(peer !== undefined && { peer }),
    ...(refusal !== undefined && { cause: refusal.message.slice(0, mostCause) }),
  };
}

/** What a method has thrown is to its caller; a fault of ours is logged. */
export function refusalOf(error: unknown, method: string, log: Log): Refusal {
  const refusal = toRefusal(error);
  if (refusal.code === "internal")
    log.error({ event: "internal-error", method, err: error }, "a call failed for a reason that has no name");
  return refusal;
}
