// The unix socket: who may take the path, with which permissions, and how it is given back.
// (docs/architecture.md #shim; docs/kms-contract.md checks 1 to 8.)
import { randomBytes } from "node:crypto";
import {
  accessSync,
  chownSync,
  constants,
  lstatSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
} from "node:fs";
import { connect, type Server } from "node:net";
import { limits } from "@claviger/proto/wire/protocol.ts";
import { basename, dirname, join } from "node:path";

/** The path cannot be taken; says why and what to do. */
export class SocketError extends Error {
  override readonly name = "SocketError";
}

export type Socket = {
  /** Removes what is ours of the path, and nothing else. */
  release(): void;
};

type Found = "nothing" | "socket" | "our-link" | "other";

// The path is a link to a socket `.XXXXXXXX` (8 hexadecimal digits) beside it: that form and no
// other is ours.
function instanceName(): string {
  return `.${randomBytes(4).toString("hex")}`;
}
function isInstance(target: string): boolean {
  return /^\.[0-9a-f]{8}$/.test(target);
}

function look(path: string): Found {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return "nothing";
  if (found.isSocket()) return "socket";
  return found.isSymbolicLink() && isInstance(readlinkSync(path)) ? "our-link" : "other";
}

/** Does somebody accept connections there? */
function isLive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    // Only a refused or vanished socket is dead; one that we may not reach could well be alive.
    probe.once("error", (error: NodeJS.ErrnoException) =>
      resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT"),
    );
  });
}

function listen(server: Server, path: string, mode: number, setUmask: (mask: number) => number): Promise<void> {
  return new Promise((resolve, reject) => {
    // The file must have its mode from the first instant: only the umask can do that.
    const before = setUmask(0o777 & ~mode);
    try {
      server.once("error", reject);
      server.listen(path, () => {
        server.off("error", reject);
        resolve();
      });
    } finally {
      setUmask(before);
    }
  });
}

/** @throws SocketError when this user cannot make a socket there */
function assertDirectory(dir: string): void {
  try {
    accessSync(dir, constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new SocketError(
      code === "ENOENT"
        ? `the directory ${dir} does not exist; make it, or choose another path`
        : `the directory ${dir} cannot be written to by this user (${code}); make it the user's, or choose another path`,
    );
  }
}

/** What stands at the path: nothing that is in the way, or a shim that serves. */
export type Occupant = "none" | "dead" | "live";

/** @throws SocketError when what is there is not ours to replace, or nothing can be put there */
export async function occupantOf(path: string): Promise<Occupant> {
  assertDirectory(dirname(path));
  const found = look(path);
  if (found === "other")
    throw new SocketError(`${path} exists and is not a socket of ours; move it away or choose another path`);
  if (found === "nothing") return "none";
  return (await isLive(path)) ? "live" : "dead";
}

type Place = { readonly path: string; readonly mode: number; readonly group: number | undefined };

/**
 * Makes `server` listen beside the path, under a name of its own: what can fail comes before the move
 * onto the path. Node removes the name that it bound when it closes, whoever owns that by then.
 * @param setUmask process.umask: sets the mask and returns the earlier one
 * @returns the file
 * @throws SocketError; the system's error
 */
export async function bindBeside(
  server: Server,
  { path, mode, group }: Place,
  setUmask: (mask: number) => number,
): Promise<string> {
  const dir = dirname(path);
  const own = join(dir, instanceName());
  const tooLong = Buffer.byteLength(own) - limits.socketPath;
  if (tooLong > 0) throw new SocketError(`the directory of ${path} is too long by ${tooLong} bytes`);
  await listen(server, own, mode, setUmask);
  try {
    // A socket has its maker's group: only another one needs the system call, which a filter may forbid.
    if (group !== undefined && lstatSync(own).gid !== group) chownSync(own, -1, group);
    return own;
  } catch (error) {
    await giveBack(server, own);
    throw error;
  }
}

/** Ends the server and removes what it was bound to. */
export async function giveBack(server: Server, own: string): Promise<void> {
  await new Promise((resolve) => server.close(resolve));
  rmSync(own, { force: true });
}

/**
 * Makes `server` listen on `path`. A dead socket file is replaced, a live one is refused unless
 * `takeover`, anything else at the path is refused and left alone.
 * @param setUmask process.umask: sets the mask and returns the earlier one
 * @throws SocketError; the system's error
 */
export async function claimSocket(
  server: Server,
  {
    path,
    mode,
    group,
    takeover,
    setUmask,
  }: {
    readonly path: string;
    readonly mode: number;
    readonly group: number | undefined;
    readonly takeover: boolean;
    readonly setUmask: (mask: number) => number;
  },
): Promise<Socket> {
  const occupant = await occupantOf(path);
  if (occupant === "live" && !takeover)
    throw new SocketError(
      `${path} is served by another process; stop that one first, or start with --takeover to replace it without a gap`,
    );
  const own = await bindBeside(server, { path, mode, group }, setUmask);
  const link = `${own}.link`;
  try {
    symlinkSync(basename(own), link);
    renameSync(link, path);
  } catch (error) {
    rmSync(link, { force: true });
    await giveBack(server, own);
    throw error;
  }
  await removeDead(dirname(path), basename(own));
  return {
    release() {
      // Somebody who took over has put a link of its own there.
      const isOurs = look(path) === "our-link" && readlinkSync(path) === basename(own);
      if (isOurs) unlinkSync(path);
      rmSync(own, { force: true });
    },
  };
}

/** Removes sockets and links of shims that have ended, and no other file. */
async function removeDead(dir: string, own: string): Promise<void> {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const [instance, suffix] = [entry.name.slice(0, own.length), entry.name.slice(own.length)];
    if (!isInstance(instance) || instance === own) continue;
    const file = join(dir, entry.name);
    const isDead = entry.isSocket() && suffix === "" && !(await isLive(file));
    // Another shim may be between the link and its move onto the path.
    const isLeft = entry.isSymbolicLink() && suffix === ".link" && !(await isLive(join(dir, instance)));
    if (isDead || isLeft) rmSync(file, { force: true });
  }
}
