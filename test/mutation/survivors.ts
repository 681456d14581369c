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

/** Of one source and one reason: the line, and what becomes of a part of it. */
function same(
  source: string,
  why: string,
  ...changes: readonly (readonly [was: string, part: string, ...becomes: readonly string[]])[]
): readonly Explained[] {
  return changes.flatMap(([was, part, ...becomes]) =>
    becomes.map((other) => ({ source, was, is: was.replace(part, () => other), why })),
  );
}

const core = "gateway/core/src";

export const explained: readonly Explained[] = [
  ...same(
    `${core}/identity.ts`,
    "There is exactly one name here, and it begins like that; the compiler does not know.",
    ['return uris[0]?.slice("URI:".length) ?? "";', ' ?? ""', ""],
  ),
  ...same(
    `${core}/key/epoch-mac.ts`,
    "Without a MAC the claim is compared with nothing: to make one for it costs time, and does not fit the empty one.",
    [
      "const wanted = claim.mac === undefined ? undefined : sign(uid, claim.text).mac;",
      "claim.mac === undefined",
      "false",
    ],
  ),
  ...same(`${core}/key/epoch-mac.ts`, "Where there is something to compare with, the claim has a MAC.", [
    'return { epoch, isProven: wanted !== undefined && isSame(wanted, claim.mac ?? "") };',
    ' ?? ""',
    "",
  ]),
  ...same(
    `${core}/audit/chain.ts`,
    "A line that is nothing but the text of a MAC is no JSON, and was a fragment before.",
    [
      "if (at < 0 || !line.subarray(at, at + macStart.length).equals(macStart)) return undefined;",
      "at < 0",
      "at < 1",
      "at <= 0",
    ],
  ),
  ...same(
    `${core}/audit/verify-chain.ts`,
    "What a chain of which nothing was read yet ends with: nobody goes by it but for comparing that it is no chain that goes on.",
    ['last: () => last ?? { sequence: -1, hash: "", place: { file: "", line: 0 } },', "sequence: -1", "sequence: -2"],
    ['last: () => last ?? { sequence: -1, hash: "", place: { file: "", line: 0 } },', "line: 0", "line: 1"],
  ),
  ...same(
    `${core}/audit/verify-chain.ts`,
    "A verifier is made for a line of its chain, and takes it: a summary always has a first line and a last one.",
    ["first: first?.sequence ?? 0,", " ?? 0", " ?? 1", ""],
    ["last: last?.sequence ?? 0,", " ?? 0", " ?? 1", ""],
    ['from: first?.time ?? "",', ' ?? ""', ""],
    ['until: last?.time ?? "",', ' ?? ""', ""],
  ),
  ...same(
    `${core}/backend/vault/transit.ts`,
    "A reply that begins with the name of a field is no JSON, and is refused before anything of it is used.",
    ["for (let at = body.indexOf(field); at >= 0; at = body.indexOf(field, at)) {", "at >= 0", "at >= 1", "at > 0"],
  ),
  ...same(
    `${core}/backend/vault/transit.ts`,
    "The reply has as many results as there are items, or it is refused before; the compiler does not know.",
    ["return result === undefined ? [] : [outcome(result, item)];", "result === undefined", "false"],
  ),
  ...same(
    "gateway/server/src/kms/admission.ts",
    "An operator has no cluster, and no registry has a record for nothing.",
    [
      'const record = identity.kind === "node" ? registry.get(identity.cluster) : undefined;',
      'identity.kind === "node"',
      "true",
    ],
    ['const name = identity.kind === "node" ? identity.cluster : undefined;', 'identity.kind === "node"', "true"],
  ),
  ...same("gateway/server/src/kms/admission.ts", "To take nothing out of a bucket changes nothing.", [
    "if (calls > 0) take(uid, limits.requestsPerSecond, calls);",
    "calls > 0",
    "calls >= 0",
  ]),
  ...same(
    "proto/runtime/endpoint-health.ts",
    "To clear no timer does nothing.",
    ["if (entry.timer !== undefined) clock.clearTimeout(entry.timer);", "entry.timer !== undefined", "true"],
    [
      "for (const { timer } of entries) if (timer !== undefined) clock.clearTimeout(timer);",
      "timer !== undefined",
      "true",
    ],
  ),
  ...same("proto/runtime/endpoint-health.ts", "The pause that it is compared with is 100 ms or more.", [
    "probeLater(entry, Math.max(entry.pauseMs, Math.min(failure.retryAfterMs ?? 0, longestPauseMs)));",
    "?? 0",
    "?? 1",
  ]),
  ...same("proto/runtime/endpoint-health.ts", "One rank for all: which one does not matter.", [
    'choice === "fastest" ? latencyMs * 2 ** (-(clock.now() - heardAt) / halfLifeMs) * (0.5 + Math.random()) : 0;',
    ": 0;",
    ": 1;",
  ]),
];
