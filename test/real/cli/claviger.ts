// The claviger command as a process of its own, as an operator runs it.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { text } from "node:stream/consumers";

const main = join(import.meta.dirname, "..", "..", "..", "gateway", "cli", "src", "main.ts");

export type CliResult = { readonly status: number | null; readonly out: string; readonly err: string };

/**
 * Runs it with this environment and nothing else of ours: no token or address of whoever runs the
 * tests.
 * @param uid another user than ours, which takes root
 */
export async function claviger(args: readonly string[], env: NodeJS.ProcessEnv = {}, uid?: number): Promise<CliResult> {
  const child = spawn(process.execPath, [main, ...args], {
    ...(uid !== undefined && { uid, gid: uid }),
    env: { PATH: process.env["PATH"], HOME: "/nonexistent", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { status: await closed, out, err };
}
