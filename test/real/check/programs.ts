// Runs a program of this repository once, to its end.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";

const root = join(import.meta.dirname, "..", "..", "..");

export type Ended = { readonly code: number | null; readonly out: string; readonly err: string };

const mains = {
  gateway: "gateway/server/src/main.ts",
  fleet: "gateway/fleet/src/main.ts",
  shim: "shim/src/main.ts",
} as const;

/** @param ms it is ended after that: a start that works does not end by itself */
export async function runToEnd(program: keyof typeof mains, args: readonly string[], ms = 30_000): Promise<Ended> {
  const child = spawn(process.execPath, [join(root, mains[program]), ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const timer = setTimeout(() => child.kill("SIGKILL"), ms);
  const closed = once(child, "close").then(([code]) => code as number | null);
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
  clearTimeout(timer);
  return { code, out, err };
}

/** A row of the table: its name, its verdict, and what stands there, with what is to be done about it. */
export type Row = { readonly name: string; readonly verdict: string; readonly found: string };

/** Reads the table that `--check` prints, by the columns of its head. */
export function rowsOf(table: string): readonly Row[] {
  const [head = "", ...lines] = table.trimEnd().split("\n").slice(0, -1);
  const [second, third] = [head.indexOf("verdict"), head.indexOf("found")];
  const rows: { name: string; verdict: string; found: string }[] = [];
  for (const line of lines) {
    const [name, verdict, found] = [line.slice(0, second), line.slice(second, third), line.slice(third)];
    const last = rows.at(-1);
    if (name.trim() === "" && last !== undefined) last.found += ` | ${found}`;
    else rows.push({ name: name.trim(), verdict: verdict.trim(), found });
  }
  return rows;
}
