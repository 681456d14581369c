// A memory cgroup for processes of the lab: the limit that a pod has. Needs root and a writable
// cgroup file system, of version 1 or 2.
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export type MemoryCgroup = {
  /** Puts a process under the limit, together with those that are in there already. */
  add(pid: number): void;
  /** A command line that puts itself under the limit, and then becomes `argv`. */
  command(argv: readonly string[]): readonly string[];
  /** Removes it once its processes have ended. */
  remove(): void;
};

const v1 = "/sys/fs/cgroup/memory";
const v2 = "/sys/fs/cgroup";

/** @throws Error saying what is missing */
export function createMemoryCgroup(name: string, bytes: number): MemoryCgroup {
  const isV1 = existsSync(v1);
  const dir = join(isV1 ? v1 : v2, name);
  try {
    mkdirSync(dir);
    writeFileSync(join(dir, isV1 ? "memory.limit_in_bytes" : "memory.max"), String(bytes));
  } catch (error) {
    throw new Error(
      `a memory cgroup cannot be made at ${dir} (${(error as NodeJS.ErrnoException).code ?? "error"}): run as root with a writable cgroup file system`,
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
