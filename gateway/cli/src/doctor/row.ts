// What `claviger doctor` says: one row for each thing that it looked at, under an id that stays the same from release
// to release. What is looked at stands in catalog.ts.
import type { CheckRow, Finding, Verdict } from "@claviger/proto/runtime/check.ts";
import { formatTable } from "@claviger/proto/runtime/table.ts";
import { catalog, type Part } from "./catalog.ts";

/** `skipped`: it could not be looked at, and `found` says why. */
export type State = "ok" | "warning" | "failure" | "skipped";

export type DoctorRow = {
  readonly id: string;
  /** Which one, where there are several: a gateway's URL, a backend's name. */
  readonly subject?: string;
  readonly state: State;
  /** What was seen, or what is wrong, or why it was skipped. */
  readonly found: string;
  /** What to do about it. */
  readonly hint?: string | undefined;
};

const states: Readonly<Record<Verdict, State>> = {
  ok: "ok",
  note: "ok",
  warning: "warning",
  failed: "failure",
  "not tried": "skipped",
};

/** The id that a row of `--check` has here, and of which of several it is. */
function named(part: Part, name: string): Pick<DoctorRow, "id" | "subject"> {
  const [first = "", ...others] = name.split(" ");
  if (Object.hasOwn(catalog[part], first))
    return { id: first, ...(others.length > 0 && { subject: others.join(" ") }) };
  for (const [id, { row }] of Object.entries(catalog[part])) {
    const match = row?.exec(name);
    if (match !== null && match !== undefined) return { id, ...(match[1] !== undefined && { subject: match[1] }) };
  }
  throw new TypeError(`a row without an id: ${name}`);
}

/** A row of `--check`, or one whose name is an id already, as a row of doctor. */
export function doctorRow(part: Part, { name, verdict, found, cure }: CheckRow): DoctorRow {
  return { ...named(part, name), state: states[verdict], found, ...(cure !== undefined && { hint: cure }) };
}

/** A finding under an id. */
export type Judged = Finding & { readonly id: string };

/** A run without a failure. */
export function isFine(rows: readonly DoctorRow[]): boolean {
  return rows.every(({ state }) => state !== "failure");
}

/** How many rows there are of each state, those that there are. */
export function summaryOf(rows: readonly DoctorRow[]): Readonly<Partial<Record<State, number>>> {
  const counts: Partial<Record<State, number>> = {};
  for (const { state } of rows) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}

/** The rows for people. @param withHints what to do stands below what is wrong */
export function formatDoctor(rows: readonly DoctorRow[], withHints: boolean): string {
  const lines = rows.flatMap(({ id, subject, state, found, hint }) => [
    [id, state, subject === undefined ? found : `${subject}: ${found}`],
    ...(withHints && hint !== undefined ? [["", "", `what to do: ${hint}`]] : []),
  ]);
  const sums = Object.entries(summaryOf(rows)).map(([state, count]) => `${count} ${state}`);
  return `${formatTable(["CHECK", "STATE", "FOUND"], lines)}\n\n${sums.join(", ")}`;
}
