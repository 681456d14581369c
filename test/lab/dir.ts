// The folder of a lab. One that held a lab before is emptied of it; one where a lab still runs is
// refused.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startTimeOf } from "./pid.ts";

const marker = ".claviger-lab";
/** What a lab writes into its folder. Nothing else there is ever removed. */
const ours = /^(lab\.json|clusters\.yaml|keys\.json|logs|pki|openbao|redis|etcd|(gateway|shim|kube-apiserver)-.+)$/;

function ownerOf(dir: string): { readonly pid: number; readonly start: string | undefined } | undefined {
  try {
    const [pid, start] = readFileSync(join(dir, marker), "utf8").split(" ");
    return { pid: Number(pid), start };
  } catch {
    return undefined;
  }
}

/**
 * A unix socket's path ends at 107 bytes, and the shims' sockets stand in folders of their own in
 * this one.
 */
const longest = 64;

/**
 * Takes the folder, made when missing, for this process.
 * @throws Error when a lab runs there, or its sockets' paths would be too long
 */
export function claimDir(dir: string): void {
  if (Buffer.byteLength(dir) > longest)
    throw new Error(`${dir} is too long a path for unix sockets in it: at most ${longest} characters`);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const owner = ownerOf(dir);
  if (owner !== undefined) {
    if (owner.start !== undefined && startTimeOf(owner.pid) === owner.start)
      throw new Error(`a lab runs in ${dir} (process ${owner.pid}): stop it, or name another folder`);
    for (const name of readdirSync(dir)) if (ours.test(name)) rmSync(join(dir, name), { recursive: true, force: true });
  }
  writeFileSync(join(dir, marker), `${process.pid} ${startTimeOf(process.pid) ?? ""}`, { mode: 0o600 });
}

/**
 * Says that the lab of this folder has ended. Its files stay, for those who want to read its logs.
 */
export function releaseDir(dir: string): void {
  // The folder may be gone already: a test's own.
  if (ownerOf(dir) !== undefined) writeFileSync(join(dir, marker), "0", { mode: 0o600 });
}
