// A Debian that has booted: systemd is its process 1, in a container of systemd-nspawn with a network
// of its own. Needs root, and no systemd on this machine.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { basename, join } from "node:path";
import { type LabProcess, type ProcessGroup, until } from "./process-group.ts";

export type DebianMachine = {
  /** Runs a command in it, with what it printed on both outputs in the order in which it did. */
  run(...argv: readonly string[]): { readonly status: number | null; readonly said: string };
  /** The command line of this machine that runs one in it. */
  command(...argv: readonly string[]): readonly string[];
  /** Where a file of it is for a process of this machine, unix sockets and what is in its memory included. */
  path(file: string): string;
  /** Shuts it down. */
  stop(): Promise<void>;
};

/** Of whichever hierarchy systemd keeps its services in. */
function cgroupRoot(): string {
  const v1 = "/sys/fs/cgroup/systemd";
  return existsSync(v1) ? v1 : "/sys/fs/cgroup";
}

function removeCgroup(dir: string): void {
  for (const entry of readdirSync(dir, { withFileTypes: true }))
    if (entry.isDirectory()) removeCgroup(join(dir, entry.name));
  rmdirSync(dir);
}

/** Systemd in the container, in the end: systemd-nspawn's first child makes it and goes. */
function childOf({ pid }: LabProcess): string {
  const [child = ""] = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ");
  return child;
}

/**
 * @param root its directory, as debianRoot makes one
 * @throws Error with what systemd-nspawn said, where it does not boot
 */
export async function bootDebian(processes: ProcessGroup, root: string): Promise<DebianMachine> {
  const cgroup = mkdtempSync(join(cgroupRoot(), "claviger-"));
  const nspawn = [
    "systemd-nspawn",
    "--boot",
    "--quiet",
    // No systemd has to be there to be told of it.
    "--register=no",
    "--keep-unit",
    "--private-network",
    "--console=pipe",
    `--machine=${basename(cgroup)}`,
    `--directory=${root}`,
  ];
  const proc = processes.start("machine", [
    "/bin/sh",
    "-c",
    'echo $$ > "$0" && exec "$@"',
    join(cgroup, "cgroup.procs"),
    ...nspawn,
  ]);
  let pid = "";
  const clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"];
  const command: DebianMachine["command"] = (...argv) => {
    return ["nsenter", "--target", pid, "--all", "--", ...clean, ...argv];
  };
  const run: DebianMachine["run"] = (...argv) => {
    const [program = "", ...args] = command("sh", "-c", 'exec "$@" 2>&1', "sh", ...argv);
    const { status, stdout } = spawnSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    return { status, said: stdout };
  };
  let state = "";
  const hasBooted = (): true | undefined => {
    pid = childOf(proc);
    if (pid === "") return undefined;
    state = run("systemctl", "is-system-running").said.trim();
    // Degraded: a unit of Debian's own has failed.
    return state === "running" || state === "degraded" ? true : undefined;
  };
  await until("systemd to have booted", proc, hasBooted).catch(async (cause: unknown) => {
    await processes.stop(proc);
    throw new Error(`systemd is not up: ${state}`, { cause });
  });
  return {
    run,
    command,
    path: (file) => join(`/proc/${pid}/root`, file),
    async stop() {
      await processes.stop(proc);
      removeCgroup(cgroup);
    },
  };
}
