// How a call of the control plane fails: a code of Connect, and a sentence that says what to do. No secret
// stands in it.
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { connectCodes, KmsError, rowOf } from "@claviger/proto/wire/errors.ts";
import { KeyChangeError } from "@claviger/gateway-core/src/key/changes.ts";
import { EditError, type EditProblem } from "@claviger/gateway-core/src/registry/edit/error.ts";

export type Code =
  | "invalid_argument"
  | "not_found"
  | "permission_denied"
  | "unauthenticated"
  | "already_exists"
  | "failed_precondition"
  | "aborted"
  | "resource_exhausted"
  | "unavailable"
  | "internal";

/** What a change that was checked, and not made, waits for. `expiresAt` in Unix seconds. */
export type WaitingApproval = { readonly id: string; readonly expiresAt: number };

export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly code: Code;
  readonly approval: WaitingApproval | undefined;

  constructor(code: Code, message: string, options: ErrorOptions & { readonly approval?: WaitingApproval } = {}) {
    super(message, options);
    this.code = code;
    this.approval = options.approval;
  }
}

export function refuse(code: Code, message: string, approval?: WaitingApproval): Refusal {
  return new Refusal(code, message, approval && { approval });
}

const editCodes = {
  missing: "not_found",
  exists: "already_exists",
  conflict: "aborted",
  rule: "failed_precondition",
} as const satisfies Record<EditProblem, Code>;

/** What any error of a method is to its caller. */
export function toRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof EditError) return new Refusal(editCodes[error.problem], error.message, { cause: error });
  if (error instanceof KeyChangeError) return new Refusal("failed_precondition", error.message, { cause: error });
  if (error instanceof ConfigError) return new Refusal("failed_precondition", error.message, { cause: error });
  if (error instanceof KmsError) {
    const isRetryable = connectCodes[rowOf(error.reason).connect].grpc === connectCodes.unavailable.grpc;
    const cause = error.cause instanceof Error ? `: ${error.cause.message}` : "";
    return new Refusal(isRetryable ? "unavailable" : "failed_precondition", `${error.message}${cause}`, {
      cause: error,
    });
  }
  return new Refusal("internal", "the fleet service has a fault; its log says more", { cause: error });
}
