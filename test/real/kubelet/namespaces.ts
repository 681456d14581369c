// A test file in namespaces of its own: what it mounts, the interfaces and filter rules that it makes and the processes that
// it starts are seen by nobody else on the machine, and end with it, however it ends.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const variable = "CLAVIGER_TEST_MACHINE";
const cgroups = "/sys/fs/cgroup";

/** The directory of the machine that this process is inside of; undefined outside of one. */
export function machineDir(): string | undefined {
  return process.env[variable];
}

/** Where this machine's cgroups are: a folder in each hierarchy of version 1, a single one in version 2. */
export function cgroupDirs(dir: string): readonly string[] {
  const name = basename(dir);
  if (existsSync(join(cgroups, "cgroup.controllers"))) return [join(cgroups, name)];
  return readdirSync(cgroups)
    .map((hierarchy) => join(cgroups, hierarchy))
    .filter((path) => statSync(path).isDirectory())
    .map((path) => join(path, name));
}

/** Removes cgroups from below. They are busy until the last process in them has ended. */
async function removeCgroup(dir: string): Promise<void> {
  if (!existsSync(dir)) return;
  for (const entry of readdirSync(dir, { withFileTypes: true }))
    if (entry.isDirectory()) await removeCgroup(join(dir, entry.name));
  for (const end = Date.now() + 10_000; ; await sleep(50))
    try {
      return rmdirSync(dir);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EBUSY" || Date.now() > end) throw error;
    }
}

/**
 * Runs a test file again inside, with this process' output, and ends this process as it ended. Mounts, interfaces and
 * processes go with its namespaces; its cgroups and its directory are removed here.
 * @throws Error where this user may not make them
 */
export async function runInside(file: string): Promise<void> {
  if (process.getuid?.() !== 0)
    throw new Error("a kubelet needs namespaces, mounts and cgroups: run these tests as root");
  const dir = mkdtempSync(join(tmpdir(), "claviger-machine-"));
  const namespaces = ["--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc"];
  const child = spawn("unshare", [...namespaces, process.execPath, ...process.execArgv, file], {
    stdio: "inherit",
    env: { ...process.env, [variable]: dir },
  });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill("SIGKILL"));
  const [code] = (await once(child, "close")) as [number | null];
  for (const cgroup of cgroupDirs(dir)) await removeCgroup(cgroup);
  rmSync(dir, { recursive: true, force: true });
  process.exitCode = code ?? 1;
}
