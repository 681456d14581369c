// What a fault is, and the words that most of them are made of.
import type { Call, Stream } from "./load.ts";
import type { Part, Site } from "./site.ts";
import { freeze } from "../lab/freeze.ts";

export type Course = {
  /** Waits while the fault lasts, as long as is usual or so many milliseconds. The key is rotated in the middle, once. */
  readonly hold: (ms?: number) => Promise<void>;
  /** Says that the fault is over; recovery counts from now on. Said by the end of `run` at the latest. */
  readonly over: () => void;
};

/** What is not everywhere: namespaces for networks and mounts (root, Linux), libfaketime, the commit of 0.1.0. */
export type Need = "isolation" | "faketime" | "earlier";

export type Fault = {
  /** What it is called on the command line. */
  readonly id: string;
  readonly name: string;
  /** What is left of what it takes away. */
  readonly left: string;
  /** Calls that lose something of which there is one only. No other one may fail. */
  readonly mayFail?: (call: Pick<Call, "stream" | "ask">) => boolean;
  /** Why calls fail, where they do. */
  readonly note?: string;
  readonly needs?: readonly Need[];
  /** What takes long, before the load begins. */
  readonly prepare?: (site: Site) => void;
  run(site: Site, course: Course): Promise<void>;
};

/** All calls of these streams. */
export function anyOf(...streams: readonly Stream[]): NonNullable<Fault["mayFail"]> {
  return ({ stream }) => streams.includes(stream);
}

/** What needs a key: Status and the API, which holds the seeds that it has unwrapped, go on without. */
export function needsKey({ ask }: Pick<Call, "ask">): boolean {
  return ask === "encrypt" || ask === "decrypt";
}

export async function kill({ proc }: Part): Promise<void> {
  process.kill(proc().pid, "SIGKILL");
  await proc().ended;
}

/** kill -9, and a start after the usual while, or so many milliseconds. */
export async function killed(part: Part, { hold, over }: Course, ms?: number): Promise<void> {
  await kill(part);
  await hold(ms);
  over();
  await part.start();
}

/** SIGSTOP, then SIGCONT. */
export async function paused({ proc }: Part, { hold, over }: Course): Promise<void> {
  const { pid } = proc();
  freeze(pid);
  try {
    await hold();
  } finally {
    process.kill(pid, "SIGCONT");
    over();
  }
}

/** SIGTERM, and a start at once when it has ended, as a rolling update does with one replica. */
export async function restarted(site: Site, part: Part, argv?: readonly string[]): Promise<void> {
  await site.processes.stop(part.proc(), 20_000);
  await part.start(argv);
}

/** RestartSec= of the shipped unit. */
export const restartMs = 1000;

export function at<T>(items: readonly T[], n: number): T {
  const item = items[n];
  if (item === undefined) throw new TypeError(`there is no number ${n}`);
  return item;
}
