// Mutants that no test can notice, and why: what the program does is the same with them. A mutant that only
// no test notices yet does not belong here.

export type Explained = {
  /** From the root of the repository. */
  readonly source: string;
  /** The line before and after the change, as the run prints it. */
  readonly was: string;
  readonly is: string;
  /** Why nobody can tell the one from the other. */
  readonly why: string;
};

const transit = "gateway/core/src/backend/vault/transit.ts";

export const explained: readonly Explained[] = [
  ...["at >= 1", "at > 0"].map((changed) => ({
    source: transit,
    was: "for (let at = body.indexOf(field); at >= 0; at = body.indexOf(field, at)) {",
    is: `for (let at = body.indexOf(field); ${changed}; at = body.indexOf(field, at)) {`,
    why: "A reply that begins with the name of a field is no JSON, and is refused before anything of it is used.",
  })),
  {
    source: transit,
    was: "return result === undefined ? [] : [outcome(result, item)];",
    is: "return false ? [] : [outcome(result, item)];",
    why: "The reply has as many results as there are items, or it is refused before; the compiler does not know.",
  },
];
