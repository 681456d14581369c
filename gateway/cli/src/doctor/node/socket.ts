// The shim's socket as kube-apiserver finds it: who listens, what it answers, and who may connect.
import { statSync } from "node:fs";
import { dirname } from "node:path";
import { type Check, type Finding, type Found } from "@claviger/proto/runtime/check.ts";
import { runCheck, type StepName } from "../../check.ts";
import { createKmsClient } from "../../kms-client.ts";
import { probeSocket } from "../../probe.ts";

const timeoutMs = 3000;

const ids: Readonly<Record<StepName, string>> = {
  socket: "node.socket.live",
  status: "node.socket.status",
  encrypt: "node.socket.encrypt",
  decrypt: "node.socket.decrypt",
};

/** Adds a row for each step of `claviger check`; those that an earlier one holds up are not tried. */
export async function checkAnswers(check: Check, socket: string): Promise<void> {
  const { steps } = await runCheck({
    socket,
    timeoutMs,
    probe: () => probeSocket(socket, timeoutMs),
    open: () => createKmsClient({ socket, timeoutMs }),
  });
  for (const [name, id] of Object.entries(ids)) {
    const step = steps.find((one) => one.name === name);
    if (step === undefined) check.add(id, { verdict: "not tried", found: "the step before it failed" });
    else check.add(id, { verdict: step.ok ? "ok" : "failed", found: step.detail, cure: step.advice });
  }
}

/** Permission bits, owner and group of a file. */
export type Access = { readonly mode: number; readonly uid: number; readonly gid: number };

/** Undefined where it cannot be looked at: that has a row of its own. */
export function accessOf(path: string): Access | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

function octal(mode: number): string {
  return (mode & 0o777).toString(8).padStart(4, "0");
}

export type User = { readonly uid: number; readonly gid: number; readonly groups?: readonly number[] };

/** May a user do what the bit says: 2 to write, 1 to enter? */
export function may(bit: 1 | 2, { mode, uid, gid }: Access, user: User): boolean {
  if (user.uid === 0) return true;
  const isMember = user.gid === gid || user.groups?.includes(gid) === true;
  const shift = user.uid === uid ? 6 : isMember ? 3 : 0;
  return ((mode >> shift) & bit) !== 0;
}

/**
 * What is wrong with mode and owner of a socket that is there.
 * @param wanted of the shim's configuration: `mode` octal
 */
export function judgeOwner(
  socket: Access | undefined,
  directory: Access | undefined,
  wanted: { readonly path: string; readonly mode: string; readonly group?: number | undefined },
): Found<true> {
  if (socket === undefined || directory === undefined)
    return {
      found: "",
      value: true,
      more: [{ verdict: "not tried", found: "there is no socket that this user may look at" }],
    };
  const more: Finding[] = [];
  const bits = Number.parseInt(wanted.mode, 8);
  if ((socket.mode & 0o777) !== bits)
    more.push({
      verdict: "failed",
      found: `the socket has mode ${octal(socket.mode)}, and the configuration says ${octal(bits)}`,
      cure: "restart claviger-shim: it makes the socket with the mode that it is configured with",
    });
  if (wanted.group !== undefined && socket.gid !== wanted.group)
    more.push({
      verdict: "failed",
      found: `the socket is of group ${socket.gid}, and the configuration says ${wanted.group}`,
      cure: "restart claviger-shim, as a user who is in that group",
    });
  if ((directory.mode & 0o002) !== 0)
    more.push({
      verdict: "failed",
      found: `every user of this machine may put another socket into ${dirname(wanted.path)}`,
      cure: `chmod o-w ${dirname(wanted.path)}`,
    });
  const found = more.length > 0 ? "" : `mode ${octal(socket.mode)}, owner ${socket.uid}:${socket.gid}`;
  return { found, value: true, more };
}

/** May kube-apiserver's user enter the directory and connect to the socket? */
export function judgeAccess(socket: Access | undefined, directory: Access | undefined, user: User): Found<true> {
  const who = user.uid === 0 ? "root" : `user ${user.uid}, group ${user.gid}`;
  if (user.uid === 0) return { found: "kube-apiserver runs as root, and may connect", value: true };
  if (socket === undefined || directory === undefined)
    return {
      found: "",
      value: true,
      more: [{ verdict: "not tried", found: "there is no socket that this user may look at" }],
    };
  const failed = (found: string): Found<true> => ({
    found: "",
    value: true,
    more: [
      {
        verdict: "failed",
        found,
        cure: `set socket.group of the shim to ${user.gid}, socket.mode to "0660", and the directory's group in tmpfiles.d`,
      },
    ],
  });
  if (!may(1, directory, user))
    return failed(
      `kube-apiserver (${who}) may not enter the socket's directory (mode ${octal(directory.mode)}, owner ${directory.uid}:${directory.gid})`,
    );
  if (!may(2, socket, user))
    return failed(
      `kube-apiserver (${who}) may not connect to the socket (mode ${octal(socket.mode)}, owner ${socket.uid}:${socket.gid})`,
    );
  return { found: `kube-apiserver (${who}) may connect`, value: true };
}
