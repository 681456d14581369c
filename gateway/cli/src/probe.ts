// Checks a provider's socket before any gRPC: gRPC clients say "deadline exceeded" for most of what
// can be wrong with it.
import { stat } from "node:fs/promises";
import { connect } from "node:net";
import { dirname } from "node:path";
import { limits } from "@claviger/proto/wire/protocol.ts";

/** What is wrong, and what to do about it. */
export class Finding extends Error {
  override readonly name = "Finding";
  readonly advice: string;

  constructor(problem: string, advice: string) {
    super(problem);
    this.advice = advice;
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? "unknown error";
}

function octal(mode: number): string {
  return (mode & 0o777).toString(8).padStart(4, "0");
}

/** Connecting needs the right to write. */
function whoMayConnect(mode: number, uid: number | bigint, gid: number | bigint): string {
  if ((mode & 0o002) !== 0) return "so may every user";
  const who = [
    "root",
    ...(Number(uid) === 0 ? [] : [`user ${uid}`]),
    ...((mode & 0o020) !== 0 ? [`members of group ${gid}`] : []),
  ];
  return who.length === 1
    ? "only root may: kube-apiserver must run as root"
    : `only ${who.slice(0, -1).join(", ")} and ${who.at(-1) ?? ""} may: kube-apiserver must run as one of them`;
}

async function looking(path: string): Promise<Awaited<ReturnType<typeof stat>>> {
  try {
    return await stat(path);
  } catch (error) {
    const code = codeOf(error);
    if (code === "EACCES")
      throw new Finding(
        `no permission to look into ${dirname(path)}`,
        "run this as root, or as the user that kube-apiserver runs as",
      );
    if (code === "ENOTDIR")
      throw new Finding(
        `${dirname(path)} is not a directory`,
        "give the path of the shim's socket (socket.path of its configuration)",
      );
    if (code !== "ENOENT")
      throw new Finding(`${path} cannot be looked at (${code})`, "check the path and the file system");
    const parent = await stat(dirname(path)).catch(() => undefined);
    throw parent === undefined
      ? new Finding(
          `the directory ${dirname(path)} does not exist`,
          "check the path; inside a container, check that the directory is mounted from the host",
        )
      : new Finding(
          `there is no socket at ${path}`,
          "start claviger-shim and read its log; its socket.path and the endpoint in kube-apiserver's EncryptionConfiguration must be this path",
        );
  }
}

/**
 * Verifies that a process listens on the socket and that this user may connect to it. Resolves with who
 * else may: root may whatever the mode, and kube-apiserver need not be root.
 * @throws Finding
 */
export async function probeSocket(path: string, timeoutMs: number): Promise<string> {
  if (Buffer.byteLength(path) > limits.socketPath)
    throw new Finding(
      `the path has ${Buffer.byteLength(path)} bytes, a socket's path has at most ${limits.socketPath}`,
      "choose a shorter socket.path for the shim",
    );
  const found = await looking(path);
  if (!found.isSocket())
    throw new Finding(
      `${path} is ${found.isDirectory() ? "a directory" : "a file"}, not a socket`,
      "move it away and restart claviger-shim, or give the right path",
    );
  const { code } = await new Promise<{ readonly code?: string | undefined }>((resolve) => {
    const socket = connect(path);
    const timer = setTimeout(() => done("ETIMEDOUT"), timeoutMs);
    const done = (result?: string): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ code: result });
    };
    socket.once("connect", () => done());
    socket.once("error", (error) => done(codeOf(error)));
  });
  if (code === undefined) return whoMayConnect(Number(found.mode), found.uid, found.gid);
  if (code === "EACCES" || code === "EPERM")
    throw new Finding(
      `no permission to connect (socket mode ${octal(Number(found.mode))}, owner ${found.uid}:${found.gid})`,
      "run this as the user that kube-apiserver runs as; if that one is refused too, set socket.mode and socket.group of the shim",
    );
  if (code === "ECONNREFUSED")
    throw new Finding(
      "no process listens on the socket; it was left behind",
      "start claviger-shim: it replaces a dead socket by itself",
    );
  if (code === "ETIMEDOUT" || code === "EAGAIN")
    throw new Finding(
      "the socket takes no connection",
      "the process behind it hangs or is stopped; look at its log and restart it",
    );
  throw new Finding(`connecting failed (${code})`, "look at the shim's log");
}
