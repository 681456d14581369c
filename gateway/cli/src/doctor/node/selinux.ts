// SELinux, where it enforces: a container may connect to a socket only in a directory with a container's label.
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { promisify } from "node:util";
import type { Found } from "@claviger/proto/runtime/check.ts";

/** What the kernel shows of it. */
export const enforceFile = "/sys/fs/selinux/enforce";

/** Does it enforce? */
export function isEnforced(file: string): boolean {
  return existsSync(file) && readFileSync(file, "utf8").trim() === "1";
}

/** The label of a file, as coreutils print it; undefined where there is none. */
export async function labelOf(path: string): Promise<string | undefined> {
  const run = promisify(execFile);
  const label = await run("stat", ["--format=%C", path]).then(
    ({ stdout }) => stdout.trim(),
    () => "?",
  );
  return label === "?" || label === "" ? undefined : label;
}

/** @param label of the socket's directory */
export function judgeLabel(isEnforcing: boolean, directory: string, label: string | undefined): Found<true> {
  if (!isEnforcing) return { found: "SELinux does not enforce here", value: true };
  if (label === undefined)
    return {
      found: "",
      value: true,
      more: [{ verdict: "not tried", found: `SELinux enforces, and ${directory} shows no label` }],
    };
  const [, , type = ""] = label.split(":");
  if (type === "container_file_t" || type === "container_runtime_tmpfs_t")
    return { found: `${directory} has the type ${type}`, value: true };
  return {
    found: "",
    value: true,
    more: [
      {
        verdict: "warning",
        found: `${directory} has the type ${type}: a kube-apiserver in a container may be denied the socket`,
        cure: `semanage fcontext -a -t container_file_t '${directory}(/.*)?' and restorecon -R ${directory}, or seLinuxOptions { type: spc_t } for its pod; 'ausearch -m avc' shows what was denied`,
      },
    ],
  };
}
