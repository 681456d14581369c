// One way of keeping a Secret, and where it can be read: a row of the first table.
import type { Evidence } from "./evidence.ts";

export const columns = {
  disk: "disk (etcd's files)",
  ram: "RAM (of etcd)",
  etcd: "etcd (a client of it)",
  apiServer: "API server (its memory)",
  kmsServer: "KMS server",
} as const;
export type Column = keyof typeof columns;

/**
 * Evidence, and what its success gives: the Secret itself, a key that opens what lies elsewhere, or
 * the Secret to root of a machine that is switched on.
 */
export type Finding = Evidence & { readonly gives: "the Secret" | "the key" | "the Secret while mounted" };

export type Cell =
  | { readonly kind: "tested"; readonly findings: readonly Finding[] }
  | { readonly kind: "absent"; readonly why: string }
  | { readonly kind: "untested"; readonly why: string };

export type Row = {
  readonly name: string;
  /** How it was set up. */
  readonly setUp: string;
  /** This machine cannot do it as the document has it: not compared. */
  readonly isStandIn?: boolean;
  readonly cells: Readonly<Record<Column, Cell>>;
  /** What is shown beside the table: Secrets made this way that Claviger encrypts. */
  readonly through?: readonly Evidence[];
};

export function tested(...findings: readonly (readonly Finding[])[]): Cell {
  return { kind: "tested", findings: findings.flat() };
}

export function giving(gives: Finding["gives"], evidence: readonly Evidence[]): readonly Finding[] {
  return evidence.map((one) => ({ ...one, gives }));
}

/** The words of a cell, as its findings have it. */
export function verdictOf(cell: Cell): string {
  switch (cell.kind) {
    case "absent":
      return `– (${cell.why})`;
    case "untested":
      return `not tested: ${cell.why}`;
    case "tested": {
      const gives = (what: Finding["gives"]): boolean =>
        cell.findings.some((finding) => finding.gives === what && finding.succeeded);
      if (gives("the Secret")) return "**readable**";
      if (gives("the key")) return "not found, but **its key**";
      return gives("the Secret while mounted") ? "not found; **readable** while mounted" : "not found";
    }
  }
}
