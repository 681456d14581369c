// The simulated shims of a run, in processes of their own, so that their work is not done in the event
// loop of whoever measures.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type {
  Answer,
  CaTexts,
  CommandName,
  Commands,
  FloodResult,
  Flood,
  Identity,
  ShimKind,
  Stream,
  Taken,
} from "./protocol.ts";

export type Simulators = {
  readonly pids: () => readonly number[];
  /** Signs all certificates; the milliseconds of the slowest process. */
  sign(ca: CaTexts, identities: readonly Identity[], kind: ShimKind): Promise<number>;
  /** Starts these shims; `atOnce` in all. How many attempts failed. */
  connect(indices: readonly number[], atOnce: number): Promise<number>;
  /** All shims together; 0 ends it. */
  statuses(perSecond: number): Promise<void>;
  calls(perSecond: number): Promise<void>;
  seal(seeds: number): Promise<void>;
  restart(copies: number, isCold: boolean): Promise<readonly number[]>;
  /** Starts a stream in parts, or ends it: how many requests it has held back. */
  stream(stream: Stream | null): Promise<number>;
  take(): Promise<Taken>;
  stop(): Promise<void>;
};

type Asker = <N extends CommandName>(name: N, ask: Commands[N]["ask"]) => Promise<Commands[N]["answer"]>;
type Simulator = { readonly child: ChildProcess; readonly ask: Asker; readonly stop: () => Promise<void> };

function startSimulator(): Simulator {
  const child = fork(join(import.meta.dirname, "simulator.ts"), [], { serialization: "advanced" });
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  const waiting = new Map<number, (given: Answer) => void>();
  let last = 0;
  child.on("message", ({ id, given }: { readonly id: number; readonly given: Answer }) => {
    waiting.get(id)?.(given);
    waiting.delete(id);
  });
  child.once("exit", (code, signal) => {
    for (const end of waiting.values()) end({ error: `a process of simulated shims ended: ${signal ?? code}` });
  });
  return {
    child,
    ask: async <N extends CommandName>(name: N, ask: Commands[N]["ask"]) => {
      last += 1;
      const given = await new Promise<Answer>((resolve) => {
        waiting.set(last, resolve);
        child.send({ id: last, question: { name, ask } });
      });
      if ("error" in given) throw new Error(given.error);
      return given.value as Commands[N]["answer"];
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      // One that does not keep up with its shims does not hear a word either.
      kill();
      await once(child, "exit");
      process.off("exit", kill);
    },
  };
}

/** @param count processes; a shim is in the one that its cluster's number says */
export function startSimulators(count: number): Simulators {
  const all = Array.from({ length: count }, startSimulator);
  let placeOf: ReadonlyMap<number, number> = new Map();
  const each = <N extends CommandName>(name: N, ask: (place: number) => Commands[N]["ask"]) =>
    Promise.all(all.map((one, place) => one.ask(name, ask(place))));
  return {
    pids: () => all.flatMap(({ child }) => child.pid ?? []),
    async sign(ca, identities, kind) {
      const clusters = new Map<string, number>();
      for (const { cluster } of identities) if (!clusters.has(cluster)) clusters.set(cluster, clusters.size % count);
      placeOf = new Map(identities.map(({ index, cluster }) => [index, clusters.get(cluster) ?? 0]));
      const own = (place: number) => identities.filter(({ index }) => placeOf.get(index) === place);
      return Math.max(...(await each("sign", (place) => ({ ca, identities: own(place), kind }))));
    },
    async connect(indices, atOnce) {
      const failed = await each("connect", (place) => ({
        indices: indices.filter((index) => placeOf.get(index) === place),
        atOnce: Math.ceil(atOnce / count),
      }));
      return failed.reduce((sum, one) => sum + one, 0);
    },
    statuses: async (perSecond) => void (await each("statuses", () => perSecond / count)),
    calls: async (perSecond) => void (await each("calls", () => perSecond / count)),
    seal: async (seeds) => void (await each("seal", () => seeds)),
    restart: async (copies, isCold) => (await each("restart", () => ({ copies, isCold }))).flat(),
    async stream(stream) {
      const part = stream && {
        ...stream,
        perSecond: stream.perSecond / count,
        connections: Math.ceil(stream.connections / count),
        waiting: Math.ceil(stream.waiting / count),
      };
      return (await each("stream", () => part)).reduce((sum, one) => sum + one, 0);
    },
    async take() {
      const taken = await each("take", () => null);
      return {
        samples: taken.flatMap(({ samples }) => samples),
        failures: taken.flatMap(({ failures }) => failures),
        shown: taken.flatMap(({ shown }) => shown),
        connected: taken.flatMap(({ connected }) => connected),
        refused: taken.flatMap(({ refused }) => refused),
        late: {
          p99: Math.max(...taken.map(({ late }) => late.p99)),
          max: Math.max(...taken.map(({ late }) => late.max)),
        },
      };
    },
    async stop() {
      await Promise.all(all.map((one) => one.stop()));
    },
  };
}

/** A flood in a process of its own, its connections made. `run` ends the process as well. */
export async function openFlood(ca: CaTexts, flood: Flood): Promise<{ run(): Promise<FloodResult> }> {
  const simulator = startSimulator();
  await simulator.ask("sign", { ca, identities: flood.identities, kind: "own" });
  await simulator.ask("openFlood", flood);
  return {
    async run() {
      try {
        return await simulator.ask("flood", null);
      } finally {
        await simulator.stop();
      }
    },
  };
}
