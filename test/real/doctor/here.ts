// The claviger command within this process: as an operator has it, without the second that a process takes to start.
import { runCli } from "@claviger/cli/src/run.ts";
import type { CliResult } from "../cli/claviger.ts";

/** @param home the operator's home directory */
export async function clavigerHere(args: readonly string[], home: string): Promise<CliResult> {
  const [out, err]: [string[], string[]] = [[], []];
  const status = await runCli(args, {
    out: (line) => out.push(line),
    err: (line) => err.push(line),
    env: {},
    home,
    machine: { pid: process.pid, setUmask: (mask) => process.umask(mask) },
  });
  return { status, out: out.join("\n"), err: err.join("\n") };
}
