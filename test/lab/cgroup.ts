// Cgroups for processes of the lab: the limits that a pod has. They need root and a writable cgroup file system, of
// version 1 or 2.
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export type Cgroup = {
  /** Puts a process under the limit, together with those that are in there already. */
  add(pid: number): void;
  /** A command line that puts itself under the limit, and then becomes `argv`. */
  command(argv: readonly string[]): readonly string[];
  /** Removes it once its processes have ended. */
  remove(): void;
};

const root = "/sys/fs/cgroup";

/** @param limit the file of the limit in either version, with what is written to it */
function createCgroup(
  controller: "memory" | "cpu",
  name: string,
  limit: { readonly v1: readonly [string, string]; readonly v2: readonly [string, string] },
): Cgroup {
  const isV1 = existsSync(join(root, controller));
  const dir = isV1 ? join(root, controller, name) : join(root, name);
  try {
    mkdirSync(dir);
    const [file, text] = isV1 ? limit.v1 : limit.v2;
    writeFileSync(join(dir, file), text);
  } catch (error) {
    throw new Error(
      `a ${controller} cgroup cannot be made at ${dir} (${(error as NodeJS.ErrnoException).code ?? "error"}): run as root with a writable cgroup file system`,
      { cause: error },
    );
  }
  const members = join(dir, "cgroup.procs");
  return {
    add: (pid) => writeFileSync(members, String(pid)),
    command: (argv) => ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', members, ...argv],
    remove: () => rmdirSync(dir),
  };
}

/** @throws Error saying what is missing */
export function createMemoryCgroup(name: string, bytes: number): Cgroup {
  const text = String(bytes);
  return createCgroup("memory", name, { v1: ["memory.limit_in_bytes", text], v2: ["memory.max", text] });
}

const periodUs = 100_000;

/** @param share of one core. @throws Error saying what is missing */
export function createCpuCgroup(name: string, share: number): Cgroup {
  const quota = String(Math.round(periodUs * share));
  return createCgroup("cpu", name, { v1: ["cpu.cfs_quota_us", quota], v2: ["cpu.max", `${quota} ${periodUs}`] });
}
