// One cell of the table: a fault of one dependency, caused, looked at and cured. Everything that is
// written down is measured; what a test expects of it is compared with that.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import {
  gaugesOf,
  logFrom,
  type LogLine,
  metricsOf,
  moved,
  type Program,
  type Readyz,
  readyzOf,
  sizeOfLog,
  withDowns,
} from "./observe.ts";
import type { Row } from "./rows.ts";

/** What each call led to: `ok`, or the reason of the error table, or the words that a person reads. */
export type Outcomes = Readonly<Record<string, string>>;

export type World = {
  /** How many rounds in a row tell that nothing changes any more; 3 where it is not said. */
  readonly steadyRounds?: number;
  readonly programs: readonly Program[];
  /** Makes each kind of call once, at the same time. */
  round(): Promise<Outcomes>;
  /** What succeeded while there was a fault is still right. @throws AssertionError */
  verify(): Promise<void>;
  stop(): Promise<void>;
};

export type Cell<W extends World> = {
  /** What is done to cause it, for the page. */
  readonly how: string;
  cause(world: W): Promise<void> | void;
  cure(world: W): Promise<void> | void;
  /**
   * What each call may lead to once the fault is known; `ok` where a call is not named. Where that depends
   * on chance all of it is named.
   */
  readonly callers?: Readonly<Record<string, readonly string[]>>;
  /** What calls may lead to in the moment in which the fault begins, beside the above. */
  readonly atFirst?: readonly string[];
  /** Log events that may be missing, since that is a matter of time. */
  readonly maybe?: readonly string[];
  /** The same of those that come once the cause is gone. */
  readonly maybeAtEnd?: readonly string[];
  /** Log events that may come again while the fault lasts, and why. */
  readonly repeated?: Readonly<Record<string, string>>;
  /** What comes and goes while the fault lasts, in words of the page. */
  readonly restless?: {
    /** Checks of /readyz, and what they say. */
    readonly readyz: Readonly<Record<string, string>>;
    /** Metrics, and when. */
    readonly metrics: Readonly<Record<string, string>>;
  };
  /** How the dependency comes back, where that is not by itself. */
  readonly end?: string;
  /** For how long to look, milliseconds. */
  readonly lookMs?: number;
};

/** A gateway asks its backends about their health each 5 s, and a key's canary of the lab runs each 2 s. */
const lookMs = 6500;
/** How long it may take at most until all is well again. */
const backMs = 20_000;
const pauseMs = 150;

/** Tells of calls and not of states (a line of the shim for each second in which calls fail), or comes once a minute. */
const elsewhere: readonly string[] = ["call-failed", "audit-head-unsigned"];
/** Nothing is logged for so long before the next cell begins: what is up is reported up after 3 s. */
const quietMs = 3500;

/** Words of the page for what a Status in a grace period says. */
export const grace = "ok, on the last key_id";

/** While Status goes on with the last key_id, the other calls fail for one of these reasons. */
export function failing(...reasons: readonly string[]) {
  return { Status: [grace], Encrypt: reasons, Decrypt: reasons };
}

function isGood(outcomes: Outcomes): boolean {
  return Object.values(outcomes).every((outcome) => outcome === "ok");
}

/** What a cell begins with, and is to end with. */
type Good = { readonly ready: readonly Readyz[]; readonly gauges: readonly string[] };

async function untilGood(world: World, first: Good | undefined, what: string): Promise<Good> {
  let good = 0;
  let last: unknown;
  for (const end = Date.now() + backMs; ; await sleep(pauseMs)) {
    const outcomes = await world.round();
    const now = {
      ready: await Promise.all(world.programs.map(readyzOf)),
      gauges: (await Promise.all(world.programs.map(metricsOf))).map(gaugesOf),
    };
    const isAsBefore = first === undefined || JSON.stringify(now) === JSON.stringify(first);
    good = isGood(outcomes) && isAsBefore ? good + 1 : 0;
    last = { outcomes, now };
    if (good === (world.steadyRounds ?? 3)) return now;
    assert.ok(Date.now() < end, `${what}: ${JSON.stringify(last)}`);
  }
}

/** Waits until nobody has logged anything for a while. */
export async function untilQuiet({ programs }: World): Promise<void> {
  let sizes = "";
  let since = Date.now();
  for (const end = Date.now() + backMs; Date.now() - since < quietMs && Date.now() < end; await sleep(pauseMs)) {
    const now = programs.map(sizeOfLog).join();
    if (now !== sizes) since = Date.now();
    sizes = now;
  }
}

/** Events by the program that logged them, sorted; a person's words. */
function describeLog(seen: readonly (readonly [Program, readonly LogLine[]])[], maybe: readonly string[]): string {
  const names = [...new Set(seen.map(([{ name }]) => name))];
  const parts = names.flatMap((name) => {
    const events = seen
      .filter(([program]) => program.name === name)
      .flatMap(([, lines]) => lines.map(({ event }) => event));
    const known = [...new Set(events)]
      .filter((event) => !maybe.includes(event) && !elsewhere.includes(event))
      .toSorted();
    return known.length === 0 ? [] : [`${name}: ${known.map((event) => `\`${event}\``).join(", ")}`];
  });
  return parts.join("; ");
}

/** Lines that are there twice about the same thing. */
function repeatedLines(
  seen: readonly (readonly [Program, readonly LogLine[]])[],
  repeated: readonly string[],
): readonly string[] {
  return seen.flatMap(([{ name }, lines]) => {
    const counts = new Map<string, number>();
    for (const { event, identity } of lines)
      if (!repeated.includes(event)) counts.set(identity, (counts.get(identity) ?? 0) + 1);
    return [...counts]
      .filter(([, count]) => count > 1)
      .map(([identity, count]) => `${name} logs ${count} times: ${identity}`);
  });
}

function describeReadyz(
  before: readonly Readyz[],
  during: readonly Readyz[],
  restless: Readonly<Record<string, string>>,
): string {
  const parts = during.flatMap((checks, i) =>
    Object.entries(checks).flatMap(([check, text]) =>
      before[i]?.[check] === text || check in restless ? [] : [`${check}: ${text}`],
    ),
  );
  const known = Object.entries(restless).map(([check, why]) => `${check}: ${why}`);
  return [...new Set([...parts, ...known])].join("; ") || "nothing new";
}

/** @throws AssertionError where something is wrong about it, with all that was seen */
export async function runCell<W extends World>(world: W, cell: Cell<W>): Promise<Row> {
  const {
    callers = {},
    atFirst = [],
    maybe = [],
    maybeAtEnd = [],
    repeated = {},
    restless = { readyz: {}, metrics: {} },
  } = cell;
  const { programs } = world;
  const first = await untilGood(world, undefined, "before the fault");
  const metrics = await Promise.all(programs.map(metricsOf));
  const offsets = programs.map(sizeOfLog);
  const logs = (): readonly (readonly [Program, readonly LogLine[]])[] =>
    programs.map((program, i) => [program, logFrom(program, offsets[i] ?? 0)] as const);

  const rounds: Outcomes[] = [];
  /** What comes and goes was seen, whenever that was. */
  const lowest: ReadonlyMap<string, number>[] = programs.map(() => new Map());
  await cell.cause(world);
  for (const end = Date.now() + (cell.lookMs ?? lookMs); Date.now() < end; await sleep(pauseMs)) {
    rounds.push(await world.round());
    const seen = await Promise.all(programs.map(metricsOf));
    for (const [i, series] of seen.entries()) lowest[i] = withDowns(lowest[i] ?? new Map(), series);
  }
  for (let i = 0; i < (world.steadyRounds ?? 3); i++) rounds.push(await world.round());
  const during = await Promise.all(programs.map(readyzOf));
  const metricsThen = await Promise.all(programs.map(metricsOf));
  const logsThen = logs();

  await cell.cure(world);
  const sizes = programs.map(sizeOfLog);
  await untilGood(world, first, "after the cure");
  await world.verify();
  await untilQuiet(world);
  const after = programs.map((program, i) => [program, logFrom(program, sizes[i] ?? 0)] as const);
  for (const { name, proc } of programs) assert.equal(proc().child.exitCode, null, `${name} has ended`);

  const calls = Object.keys(rounds[0] ?? {});
  const of = (call: string, from: number): readonly string[] =>
    [...new Set(rounds.slice(from).map((outcomes) => outcomes[call] ?? "no answer"))].toSorted();
  const problems = calls.flatMap((call) => {
    const expected = callers[call] ?? ["ok"];
    const allowed = [...expected, ...atFirst, "ok", grace];
    return [
      ...of(call, -3).flatMap((one) => (expected.includes(one) ? [] : [`${call}: ${one}`])),
      ...of(call, 0).flatMap((one) => (allowed.includes(one) ? [] : [`${call} at first: ${one}`])),
    ];
  });
  problems.push(...repeatedLines(logsThen, [...elsewhere, ...Object.keys(repeated)]));
  const isServed = rounds.every((outcomes) => Object.values(outcomes).every((one) => one === "ok" || one === grace));
  const moves = new Set(
    programs.flatMap((_, i) => {
      const then = new Map([...(metricsThen[i] ?? []), ...(lowest[i] ?? [])]);
      return moved(metrics[i] ?? new Map(), then, isServed);
    }),
  );
  const steady = [...moves].filter((move) => !(move in restless.metrics));
  const passing = Object.entries(restless.metrics).map(([metric, when]) => `${metric} ${when}`);
  const ends = describeLog(after, [...maybe, ...maybeAtEnd]);
  const row = {
    cause: cell.how,
    callers: describeCallers(calls, callers, atFirst),
    readyz: describeReadyz(first.ready, during, restless.readyz),
    log: [
      describeLog(logsThen, maybe) || "nothing",
      ...Object.entries(repeated).map(([event, why]) => `\`${event}\` ${why}`),
    ].join("; "),
    metrics: [...steady, ...passing].join(", ") || "none",
    end: `${cell.end ?? "by itself"}${ends === "" ? "" : `; ${ends}`}`,
  };
  assert.ok(problems.length === 0, `${JSON.stringify(problems)}\n${JSON.stringify(row)}`);
  return row;
}

function describeCallers(
  calls: readonly string[],
  callers: Cell<World>["callers"] = {},
  atFirst: readonly string[] = [],
): string {
  const words = new Map<string, string[]>();
  for (const call of calls) {
    const outcome = (callers[call] ?? ["ok"])
      .map((one) => (/^[a-z]+_[a-z_]+$/.test(one) ? `\`${one}\`` : one))
      .join(" or ");
    words.set(outcome, [...(words.get(outcome) ?? []), call]);
  }
  const parts = [...words].map(([outcome, names]) => `${names.join(", ")}: ${outcome}`);
  const first = atFirst.length === 0 ? [] : [`at first also ${atFirst.map((one) => `\`${one}\``).join(", ")}`];
  return [...parts, ...first].join("; ");
}
