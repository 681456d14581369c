// `claviger console`, as an operator runs it.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

const cli = join(import.meta.dirname, "..", "..", "gateway", "cli", "src", "main.ts");

export type ConsoleProxy = {
  readonly child: ChildProcess;
  /** What opens it, once. */
  readonly link: string;
  /** What it has said beside that. */
  readonly err: () => string;
  /** Ends it as Ctrl-C does, where it has not ended. */
  end(): Promise<void>;
};

/** @param args options of the command that say where the fleet service is, and who asks */
export async function startConsoleProxy(args: readonly string[], home = "/nonexistent"): Promise<ConsoleProxy> {
  const child = spawn(process.execPath, [cli, "console", ...args], {
    env: { PATH: process.env["PATH"], HOME: home },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let err = "";
  child.stderr.on("data", (chunk) => void (err += String(chunk)));
  const closed = once(child, "exit");
  const link = await Promise.race([
    once(createInterface({ input: child.stdout }), "line").then(([line]) => String(line)),
    closed.then(() => assert.fail(`it ended: ${err}`)),
  ]);
  return {
    child,
    link,
    err: () => err,
    async end() {
      child.kill("SIGINT");
      await closed;
    },
  };
}
