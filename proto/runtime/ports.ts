// Can a program listen where its configuration says? For --check: what is bound is given back at once.
import { readdirSync, readFileSync, readlinkSync, realpathSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { resolve } from "node:path";
import { type Check, CheckError, type Found } from "./check.ts";

/** Who listens on a port, as far as this user may see. */
export type Holder = {
  readonly pid: number;
  /** The command line's beginning, for people. */
  readonly command: string;
  /** The script that runs, where it is one of Node.js. */
  readonly script: string | undefined;
};

/** Rows of sockets that listen, by the port: the state 0A of /proc/net/tcp (proc(5)). */
function rowsOf(port: number): readonly (readonly string[])[] {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const lines = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((file) => {
    try {
      return readFileSync(file, "utf8").split("\n").slice(1);
    } catch {
      // Not Linux, or no IPv6.
      return [];
    }
  });
  const rows = lines.map((line) => line.trim().split(/\s+/));
  return rows.filter(([, local = "", , state]) => state === "0A" && local.endsWith(`:${hex}`));
}

/** Whose socket listens on a port, also where the process itself cannot be seen; undefined where none does. */
export function ownerOf(port: number): number | undefined {
  const uid = rowsOf(port)[0]?.[7];
  return uid === undefined ? undefined : Number(uid);
}

function holds(pid: string, inodes: ReadonlySet<string>): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return inodes.has(/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? "");
      } catch {
        // Closed meanwhile.
        return false;
      }
    });
  } catch {
    // Another user's process.
    return false;
  }
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

/** Undefined where nobody can be seen. */
export function holderOf(port: number): Holder | undefined {
  const inodes = new Set(rowsOf(port).flatMap((row) => row[9] ?? []));
  if (inodes.size === 0) return undefined;
  const pid = readdirSync("/proc").find((name) => /^\d+$/.test(name) && holds(name, inodes));
  if (pid === undefined) return undefined;
  try {
    const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    const cwd = readlinkSync(`/proc/${pid}/cwd`);
    // npm's link to a program has no extension; a container's file is not there by its name.
    const scripts = args.slice(1).flatMap((arg) => {
      const path = resolve(cwd, arg);
      const script = realPath(path) ?? path;
      return !arg.startsWith("-") && /\.[cm]?[jt]s$/.test(script) ? [{ arg, script }] : [];
    });
    const [first] = scripts;
    return {
      pid: Number(pid),
      // Of a foreign process not all: its arguments may be secret.
      command: [args[0] ?? "", ...(first === undefined ? [] : [first.arg])].join(" "),
      script: first?.script,
    };
  } catch {
    return undefined;
  }
}

/** A place to listen at, as one of the settings says. */
export type Listener = { readonly setting: string; readonly address: string; readonly port: number };

/** This process: what its ports may be held by. */
export type Own = {
  readonly pid: number;
  readonly script: string | undefined;
  /** The user that it runs as. */
  readonly uid: number | undefined;
};

function bind({ address, port }: Listener): Promise<Server> {
  return new Promise((fulfil, reject) => {
    const server = createServer();
    server.once("error", reject);
    // Whoever connects in this moment is let go.
    server.on("connection", (socket) => socket.destroy());
    server.listen({ host: address, port, exclusive: true }, () => fulfil(server));
  });
}

const cures: Readonly<Record<string, string>> = {
  EADDRNOTAVAIL: "give an address of this machine, or 0.0.0.0 or [::] for all",
  EACCES: "choose a port from 1024 on, or give the process CAP_NET_BIND_SERVICE",
};

/** What is wrong with a port that cannot be had; what is in the way may be an earlier run of the same program. */
function describe(error: unknown, { setting, address, port }: Listener, own: Own): Found<true> {
  const { code = "unknown error" } = error as NodeJS.ErrnoException;
  const at = `${address}:${port}`;
  if (code !== "EADDRINUSE") throw new CheckError(`${at} cannot be listened at (${code})`, cures[code]);
  const holder = holderOf(port);
  const other = `choose another ${setting}.port, or stop what listens there`;
  const note = (who: string): Found<true> => {
    const found = `${who} listens at ${at}: a second one can start when that has ended`;
    return { found: "", value: true, more: [{ verdict: "note", found }] };
  };
  // The process of another container that shares the network: `helm test` beside the shim of the node.
  if (holder === undefined && own.uid !== undefined && ownerOf(port) === own.uid)
    return note(`a process of this program's user, ${own.uid}, which cannot be seen from here,`);
  if (holder === undefined)
    throw new CheckError(`${at} is taken (EADDRINUSE) by a process that this user cannot see`, other);
  if (holder.pid === own.pid)
    throw new CheckError(`${at} is what another setting says as well`, `choose another ${setting}.port`);
  const { pid, command, script } = holder;
  const ownScript = own.script === undefined ? undefined : (realPath(own.script) ?? own.script);
  if (script === undefined || script !== ownScript)
    throw new CheckError(`${at} is taken (EADDRINUSE) by process ${pid}, ${command}`, other);
  return note(`process ${pid}, which is this program,`);
}

/** Adds a row for each: can it be listened at? All at once, as two settings may name one port. */
export async function checkPorts(check: Check, listeners: readonly Listener[], own: Own): Promise<void> {
  const binding = listeners.map(bind);
  const all = Promise.allSettled(binding);
  const tryOne = async (listener: Listener, bound: Promise<Server>): Promise<Found<true>> => {
    await all;
    const { address, port } = listener;
    const where = port === 0 ? `any free port of ${address}` : `${address}:${port}`;
    return await bound.then(
      () => ({ found: `${where} can be listened at`, value: true }),
      (error: unknown) => describe(error, listener, own),
    );
  };
  await Promise.all(
    listeners.map((listener, i) => check.step(listener.setting, () => tryOne(listener, binding[i] as Promise<Server>))),
  );
  for (const result of await all)
    if (result.status === "fulfilled") await new Promise((fulfil) => result.value.close(fulfil));
}
