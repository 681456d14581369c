// A service that runs, hostile input for it, and the watch that is kept meanwhile: honest calls, memory, the log
// and the metrics.
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { request } from "undici";
import type { LabProcess } from "../../lab/process-group.ts";
import { usageOf } from "../../lab/usage.ts";
import { type Corpus, createInputs } from "../inputs.ts";
import { count, type Depths, describeEnds, spellingsOf } from "../target.ts";

/** A process that is watched. */
export type Watched = { readonly proc: LabProcess; readonly metrics: string; readonly mostMiB: number };

export type Running = Corpus & {
  /**
   * Sends one input.
   * @returns how far it got: an answer, a refusal and its name, nothing
   * @throws Error for what is a finding
   */
  send(input: Buffer): Promise<string>;
  /** Honest calls, after each round: each must succeed. Gives what each took, in milliseconds, by its name. */
  honest(): Promise<Readonly<Record<string, number>>>;
  readonly watched: readonly Watched[];
  /** What no log and no page of metrics may have: plaintexts, tokens. */
  readonly secrets: () => readonly string[];
  /** The audit records: what of `secrets` they may not have. */
  readonly audit: { readonly file: string; readonly secrets: () => readonly string[] };
  stop(): Promise<void>;
};

export type Service = {
  readonly name: string;
  readonly depths: Depths;
  /** @param dir of its own, to write in */
  start(dir: string): Promise<Running>;
};

export type ServiceReport = {
  readonly cases: number;
  readonly findings: readonly string[];
  /** How inputs ended, and how many of them. */
  readonly ends: ReadonlyMap<string, number>;
  /** Milliseconds of the honest calls, ascending. */
  readonly honestMs: readonly number[];
  /** By the name of the process: the most resident memory that was seen, MiB. */
  readonly memory: ReadonlyMap<string, number>;
};

/** Cases between two looks at the service, and how many of them at once. */
const roundCases = 200;
const atOnce = 8;
/** An honest call takes no longer, of several tries: others use the machine as well. */
const honestMs = 1000;
const tries = 5;

/** Reads what has been added to a file since the last time. */
function createTail(file: string): () => string {
  let at = 0;
  return () => {
    const fd = openSync(file, "r");
    try {
      // A line may have been read in half: something that is looked for stands within 4 KiB.
      const from = Math.max(0, at - 4096);
      at = fstatSync(fd).size;
      const bytes = Buffer.alloc(at - from);
      readSync(fd, bytes, 0, bytes.length, from);
      return bytes.toString("latin1");
    } finally {
      closeSync(fd);
    }
  };
}

/** The watch over a service. `look` gives what is wrong. */
function createWatch(running: Running) {
  const times: number[] = [];
  const memory = new Map<string, number>();
  const tails = [
    ...running.watched.map(({ proc }) => ({ file: proc.log, secrets: running.secrets })),
    running.audit,
  ].map(({ file, secrets }) => ({ file, secrets, read: createTail(file) }));
  const told = (where: string, text: string, secrets = running.secrets): readonly string[] =>
    secrets().some((secret) => spellingsOf(secret).some((spelling) => text.includes(spelling)))
      ? [`${where} has a secret`]
      : [];

  const lookAtHonest = async (): Promise<readonly string[]> => {
    let slow = "";
    for (let i = 0; i < tries; i += 1) {
      try {
        const took = Object.entries(await running.honest());
        times.push(...took.map(([, ms]) => ms));
        const late = took.find(([, ms]) => ms > honestMs);
        if (late === undefined) return [];
        slow = `an honest ${late[0]} took ${Math.round(late[1])} ms`;
      } catch (error) {
        return [`an honest call failed: ${String(error)}`];
      }
    }
    return [slow];
  };
  const lookAtProcess = async ({ proc, metrics, mostMiB }: Watched): Promise<readonly string[]> => {
    if (proc.child.exitCode !== null || proc.child.signalCode !== null) return [`${proc.name} has ended`];
    const { rssMiB } = usageOf(proc.pid);
    memory.set(proc.name, Math.max(memory.get(proc.name) ?? 0, Math.round(rssMiB)));
    const page = await (await request(metrics)).body.text();
    return [
      ...(rssMiB > mostMiB ? [`${proc.name} has ${Math.round(rssMiB)} MiB, more than ${mostMiB}`] : []),
      ...told(`the metrics of ${proc.name}`, page),
    ];
  };
  return {
    times,
    memory,
    async look(): Promise<readonly string[]> {
      const processes = await Promise.all(running.watched.map(lookAtProcess));
      const texts = tails.flatMap(({ file, secrets, read }) => {
        const text = read();
        const internal = /^.*"event":"internal-error".*$/m.exec(text)?.[0];
        return [...told(file, text, secrets), ...(internal === undefined ? [] : [`${file}: ${internal}`])];
      });
      return [...processes.flat(), ...texts, ...(await lookAtHonest())];
    },
  };
}

/**
 * Sends a service inputs, some at once, and looks at it after every few hundred.
 * @param onFinding hears of an input whose answer is a finding
 */
export async function fuzzService(
  running: Running,
  {
    cases,
    seed,
    signal,
    onFinding,
  }: {
    readonly cases: number;
    readonly seed: number;
    readonly signal?: AbortSignal;
    readonly onFinding?: (input: Buffer, why: string) => void;
  },
): Promise<ServiceReport> {
  const inputs = createInputs(running, seed);
  const watch = createWatch(running);
  const ends = new Map<string, number>();
  const findings: string[] = [...(await watch.look())];
  let done = 0;
  const one = async (input: Buffer): Promise<void> => {
    let end: string;
    try {
      end = await running.send(input);
    } catch (error) {
      end = "a finding";
      findings.push(String(error));
      onFinding?.(input, String(error));
    }
    count(ends, end);
    done += 1;
  };
  // The corpus itself first.
  let waiting = [...running.inputs];
  const next = (): Buffer => waiting.shift() ?? inputs.next();
  while (done < cases && findings.length === 0 && signal?.aborted !== true) {
    let left = Math.min(roundCases, cases - done);
    const sendSome = async (): Promise<void> => {
      while (left > 0) {
        left -= 1;
        await one(next());
      }
    };
    await Promise.all(Array.from({ length: atOnce }, sendSome));
    const wrong = await watch.look();
    findings.push(...wrong.map((why) => `after ${done} cases of seed ${seed}: ${why}`));
  }
  waiting = [];
  return { cases: done, findings, ends, honestMs: watch.times.toSorted((a, b) => a - b), memory: watch.memory };
}

/** A report as lines. */
export function describeReport({ cases, ends, honestMs: times, memory }: ServiceReport): string {
  const p99 = times[Math.floor(times.length * 0.99)] ?? 0;
  return [
    `${cases} cases: ${describeEnds(ends)}`,
    `${times.length} honest calls: median ${(times[times.length >> 1] ?? 0).toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, longest ${(times.at(-1) ?? 0).toFixed(1)} ms`,
    [...memory].map(([name, most]) => `${name}: at most ${most} MiB`).join(", "),
  ].join("\n  ");
}
