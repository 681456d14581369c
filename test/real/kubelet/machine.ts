// The machine of the test, inside its namespaces (namespaces.ts): directories of a node at their usual paths, an address
// that pods reach, and room for cgroups. Nothing of it is seen outside.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { cgroupDirs } from "./namespaces.ts";

/** The machine's address (RFC 5737: nobody's), which pods, kubelets and kube-apiserver know it by. */
export const address = "192.0.2.10";

/** What kubelet sets on a machine (setupKernelTunables in pkg/kubelet/cm): here it finds files that have it already. */
const tunables = {
  "vm/overcommit_memory": 1,
  "vm/panic_on_oom": 0,
  "kernel/panic": 10,
  "kernel/panic_on_oops": 1,
  "kernel/keys/root_maxkeys": 1_000_000,
  "kernel/keys/root_maxbytes": 25_000_000,
};

function run(file: string, ...args: readonly string[]): void {
  execFileSync(file, args, { stdio: ["ignore", "ignore", "inherit"] });
}

/** @param dir of the machine, on a disk: what images are unpacked to */
export function prepareMachine(dir: string): void {
  const at = (name: string): string => {
    mkdirSync(join(dir, name), { recursive: true });
    return join(dir, name);
  };
  run("mount", "-t", "tmpfs", "tmpfs", at("above"));
  // What is written below them, by kubelet and controllers too, is written to memory.
  for (const path of ["/etc", "/var/lib", "/var/log", "/usr/libexec"]) {
    const [upper, work] = [at(`above${path}/upper`), at(`above${path}/work`)];
    run("mount", "-t", "overlay", "-o", `lowerdir=${path},upperdir=${upper},workdir=${work}`, "overlay", path);
  }
  run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run");
  for (const [name, value] of Object.entries(tunables)) {
    const file = join(at("tunables"), basename(name));
    writeFileSync(file, `${value}\n`);
    run("mount", "--bind", file, join("/proc/sys", name));
  }
  run("ip", "link", "set", "lo", "up");
  run("ip", "link", "add", "machine0", "type", "bridge");
  run("ip", "address", "add", `${address}/24`, "dev", "machine0");
  run("ip", "link", "set", "machine0", "up");
  run("ip", "route", "add", "default", "dev", "machine0");
  for (const cgroup of cgroupDirs(dir)) {
    mkdirSync(cgroup);
    // Version 1 lets nobody into a cpuset that names none.
    if (cgroup.includes("/cpuset/"))
      for (const name of ["cpuset.cpus", "cpuset.mems"])
        writeFileSync(join(cgroup, name), readFileSync(join(cgroup, "..", name)));
  }
}
