// The network between the parts: a namespace for each machine of the site, and links that are cut, late
// or lose packets (network.py). On loopback, where nothing of that is possible, without it.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { loopback, type Place } from "../lab/place.ts";

/** Debian's own, as for test/lab/sandbox.py. */
const python = "/usr/bin/python3";

export type Link = {
  /** Each way, milliseconds. */
  readonly delayMs?: number;
  /** The share of packets that get lost, each way, 0 to 1. */
  readonly loss?: number;
  /** Nothing passes, and nobody is told. */
  readonly cut?: boolean;
};

export type Network = {
  place(machine: string): Place;
  /** Between every machine of the one list and every one of the other; `{}` puts it right again. */
  set(link: Link, some: readonly string[], others: readonly string[]): Promise<void>;
  close(): void;
};

export const onLoopback: Network = {
  place: () => loopback,
  set: () => Promise.reject(new Error("links on loopback cannot be changed")),
  close() {},
};

/**
 * Makes the machines. Needs root, and a network namespace of this process' own, which gets an interface.
 * They are gone with this process.
 */
export async function startNetwork(machines: readonly string[]): Promise<Network> {
  const names = ["main", ...machines];
  const child = spawn(python, [join(import.meta.dirname, "network.py"), ...names], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error("the network ended");
    return value;
  };
  const { pid, fds } = JSON.parse(await next()) as { readonly pid: number; readonly fds: Record<string, number> };
  return {
    place(machine) {
      const at = names.indexOf(machine);
      if (at < 0) throw new TypeError(`no machine ${machine}`);
      return { host: `10.7.0.${at + 1}`, enter: ["nsenter", `--net=/proc/${pid}/fd/${fds[machine]}`] };
    },
    async set(link, some, others) {
      for (const a of some)
        for (const b of others) {
          child.stdin.write(`${JSON.stringify({ a, b, ...link })}\n`);
          await next();
        }
    },
    close: () => child.stdin.end(),
  };
}
