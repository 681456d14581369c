// Starts a program of this repository as a process, and reads its log.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { type TestContext } from "node:test";

/**
 * `event` resolves with the next line of that event; `exited` with the status; both kinds of output
 * are in `lines`.
 */
export async function runProgram(t: TestContext, main: string, ...args: readonly string[]) {
  const child: ChildProcess = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  t.after(() => child.kill("SIGKILL"));
  const { stdout, stderr } = child;
  assert.ok(stderr !== null && stdout !== null);
  const lines: string[] = [];
  const waiting: { readonly event: string; readonly resolve: (line: Record<string, unknown>) => void }[] = [];
  createInterface({ input: stderr }).on("line", (line) => {
    lines.push(line);
    for (const { event, resolve } of waiting)
      if (line.includes(`"event":"${event}"`)) resolve(JSON.parse(line) as Record<string, unknown>);
  });
  createInterface({ input: stdout }).on("line", (line) => lines.push(line));
  const exited = once(child, "close").then(([code]) => code as number | null);
  return {
    child,
    lines,
    exited,
    event: (event: string) => new Promise<Record<string, unknown>>((resolve) => waiting.push({ event, resolve })),
  };
}
