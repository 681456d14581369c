// Where an attacker may stand: a row of SECURITY.md's table, and what shows each of its claims.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Evidence } from "./evidence.ts";

/** A control shows that the same attempt works where it must. */
export type Claim = "gets" | "does not get" | "control";

export type Shown = { readonly claim: Claim } & (
  | { readonly kind: "shown"; readonly evidence: Evidence }
  | { readonly kind: "untested"; readonly what: string; readonly why: string }
);

export type Standing = { readonly holds: string; readonly shown: readonly Shown[] };

export function gets(...evidence: readonly Evidence[]): readonly Shown[] {
  return evidence.map((one) => ({ claim: "gets", kind: "shown", evidence: one }));
}

export function doesNotGet(...evidence: readonly Evidence[]): readonly Shown[] {
  return evidence.map((one) => ({ claim: "does not get", kind: "shown", evidence: one }));
}

export function succeeds(...evidence: readonly Evidence[]): readonly Shown[] {
  return evidence.map((one) => ({ claim: "control", kind: "shown", evidence: one }));
}

export function untested(claim: Claim, what: string, why: string): readonly Shown[] {
  return [{ claim, kind: "untested", what, why }];
}

/** Something that is tried. @param attempt resolves with what came of it, and whether it worked */
export async function tried(
  did: string,
  attempt: () => Promise<{ readonly result: string; readonly succeeded: boolean }>,
): Promise<Evidence> {
  return { did, ...(await attempt()) };
}

/** Whether the evidence is what the claim says. */
export function holdsTrue(shown: Shown): boolean {
  return shown.kind === "untested" || shown.evidence.succeeded === (shown.claim !== "does not get");
}

/** A row of SECURITY.md's table, in its words. */
export type Said = { readonly holds: string; readonly gets: string; readonly doesNotGet: string };

const securityFile = join(import.meta.dirname, "..", "..", "SECURITY.md");

/** @throws Error when the table is not there */
export function readSecurity(text = readFileSync(securityFile, "utf8")): readonly Said[] {
  const [, section = ""] = text.split("\n## Where an attacker may stand\n");
  const lines = section.split("\n## ")[0]?.split("\n") ?? [];
  const rows = lines
    .filter((line) => line.startsWith("| "))
    .slice(1)
    .map((line) => {
      const [holds = "", has = "", hasNot = ""] = line.slice(2, -2).split(" | ");
      return { holds, gets: has, doesNotGet: hasNot };
    });
  if (rows.length === 0) throw new Error("SECURITY.md has no table of where an attacker may stand");
  return rows;
}
