// The shell that an operator types a page into: each block runs in a bash of its own, with the
// directory and the exported variables that the blocks before it have left.
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";

export type Ran = { readonly status: number | null; readonly out: string };

export type Shell = {
  /** Runs a block until its end; `out` is what it wrote to both outputs, as a terminal shows it. */
  run(script: string): Promise<Ran>;
  /** The command line and environment that run a block elsewhere, in the foreground. */
  elsewhere(script: string): readonly string[];
  /** An exported variable, as the blocks so far have left it. */
  variable(name: string): string;
};

/** How long a block may take. */
const patienceMs = 90_000;

/** @param env all that its first block finds @param dir where its first block runs */
export function openShell(dir: string, state: string, env: Readonly<Record<string, string>>): Shell {
  const [before, variables] = [join(state, "shell.env"), join(state, "shell.json")];
  const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;
  const exports = Object.entries(env).map(([name, value]) => `export ${name}=${quote(value)}\n`);
  writeFileSync(before, `${exports.join("")}cd ${quote(dir)}\n`, { mode: 0o600 });
  const dump = "process.stdout.write(JSON.stringify(process.env))";
  const keep = `{ export -p; echo "cd $(printf %q "$PWD")"; } > ${quote(before)}; ${quote(process.execPath)} -e ${quote(dump)} > ${quote(variables)}`;
  const bash = (script: string): readonly string[] => [
    "/usr/bin/env",
    "-i",
    "/bin/bash",
    "--noprofile",
    "--norc",
    "-c",
    `. ${quote(before)}\nset -euo pipefail\n${script}`,
  ];
  return {
    async run(script) {
      const [command = "", ...args] = bash(`exec 2>&1\n${script}\n${keep}`);
      const child = spawn(command, args, { stdio: ["ignore", "pipe", "ignore"], detached: true });
      const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
      // With all that it has started, or a loop that waits in vain would hold up everything.
      const timer = setTimeout(() => child.pid !== undefined && process.kill(-child.pid, "SIGKILL"), patienceMs);
      const out = await text(child.stdout);
      const status = await closed;
      clearTimeout(timer);
      return { status, out };
    },
    // Without a shell between: what is stopped is the program.
    elsewhere: (script) => bash(`exec ${script}`),
    variable: (name) => (JSON.parse(readFileSync(variables, "utf8")) as Record<string, string>)[name] ?? "",
  };
}
