// Why an edit of the registry was not made, for whoever asked for it: in words, with what to do. Nothing was
// written then.

/**
 * `missing`: there is no such cluster. `exists`: there is one. `conflict`: somebody else edited it at the
 * same time. `rule`: anything else.
 */
export type EditProblem = "missing" | "exists" | "conflict" | "rule";

export class EditError extends Error {
  override readonly name = "EditError";
  readonly problem: EditProblem;

  constructor(message: string, problem: EditProblem = "rule") {
    super(message);
    this.problem = problem;
  }
}

export function tooLate(what: string): EditError {
  return new EditError(`${what} was changed at the same time; look at it and run this again`, "conflict");
}

export function unknownCluster(name: string): EditError {
  return new EditError(`cluster ${JSON.stringify(name)} is not in the registry; see: claviger cluster list`, "missing");
}

export function isThere(name: string): EditError {
  return new EditError(`cluster ${name} is in the registry already`, "exists");
}
