// A part of the site that can end and be started again, and what OpenBao is asked for.
import { setTimeout as sleep } from "node:timers/promises";
import { request } from "undici";
import { type LabProcess, type ProcessGroup, until } from "../lab/process-group.ts";
import type { Raft } from "../lab/raft.ts";

/** Something that can end and be started again. */
export type Part = {
  readonly name: string;
  readonly proc: () => LabProcess;
  /**
   * Starts it after its end, and waits until it serves.
   * @param argv another command line, from now on
   */
  start(argv?: readonly string[]): Promise<void>;
};

/** @param ready waits until it serves */
export function createPart(
  processes: ProcessGroup,
  first: LabProcess,
  ready: (proc: LabProcess) => Promise<unknown>,
): Part {
  let proc = first;
  let argv = first.argv;
  return {
    name: first.name,
    proc: () => proc,
    async start(next = argv) {
      argv = next;
      proc = processes.start(first.name, argv);
      await ready(proc);
    },
  };
}

async function inTime<T>(promise: Promise<T>, ms: number): Promise<T> {
  const timer = new AbortController();
  const late = sleep(ms, undefined, { signal: timer.signal, ref: false }).then(() => {
    throw new Error(`not within ${ms} ms`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
  }
}

/** Makes a new version of a Transit key, at whichever node takes it; tries for 30 s. */
export async function rotateKey(raft: Raft, path: string): Promise<void> {
  let why: unknown;
  for (const end = Date.now() + 30_000; Date.now() < end; await sleep(200))
    for (const node of raft.nodes)
      try {
        await inTime(raft.call("POST", `${path}/rotate`, undefined, [200, 204], node), 1500);
        return;
      } catch (error) {
        why = error;
      }
  throw new Error("no node of OpenBao rotates the key", { cause: why });
}

/** Waits until an etcd answers at a URL. */
export function healthOf(url: string) {
  return (proc: LabProcess): Promise<true> =>
    until(`${proc.name} to answer`, proc, async () =>
      (await request(`${url}/health`).then(
        async (reply) => (await reply.body.text()).includes("true"),
        () => false,
      ))
        ? true
        : undefined,
    );
}
