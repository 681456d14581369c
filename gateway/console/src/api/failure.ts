// How a call of the fleet service fails, as a page shows it.

/** What a change that was checked, and not made, waits for. */
export type ApprovalNeeded = { readonly id: string; readonly expiresAt: string };

/** `code` is one of Connect's, or `offline` where no answer came. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly code: string;
  readonly approval: ApprovalNeeded | undefined;

  constructor(code: string, message: string, options: ErrorOptions & { readonly approval?: ApprovalNeeded } = {}) {
    super(message, options);
    this.code = code;
    this.approval = options.approval;
  }
}

export function offline(cause: unknown): ApiError {
  return new ApiError("offline", "the fleet service does not answer", { cause });
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** The error that stands in a body of Connect. @param status of HTTP, for a body that says nothing */
export function errorOf(body: unknown, status: number): ApiError {
  const { code, message, details } = fieldsOf(body);
  const needed = (Array.isArray(details) ? details : [])
    .map(fieldsOf)
    .find(({ type }) => textOf(type) === "claviger.fleet.v1.ApprovalNeeded");
  const { id, expiresAt } = fieldsOf(needed?.["debug"]);
  const known = textOf(code) === "" ? (status === 401 ? "unauthenticated" : "unknown") : textOf(code);
  const text = textOf(message) === "" ? `the fleet service answers with status ${status}` : textOf(message);
  return new ApiError(known, text, {
    ...(needed !== undefined && { approval: { id: textOf(id), expiresAt: textOf(expiresAt) } }),
  });
}

/** Any error as a page shows it. */
export function toApiError(error: unknown): ApiError {
  return error instanceof ApiError ? error : offline(error);
}
