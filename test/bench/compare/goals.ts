// The rows of the table: which figure of which load, and what it shall be.
import { type LoadResult, medianOf } from "../calls.ts";
import type { LoadName } from "./loads.ts";
import type { Figures, MemoryOfParts } from "./measure.ts";
import type { Part } from "./sides.ts";
import type { StartTimes } from "./start.ts";

/** All that was measured of one side, round after round. */
export type Measured = {
  readonly name: string;
  readonly loads: ReadonlyMap<LoadName, readonly Figures[]>;
  readonly starts: readonly StartTimes[];
  /** Before any load. */
  readonly idle: MemoryOfParts;
  /** How often a process ended under a load; it is started again after that. */
  readonly ended: number;
};

export type Goal = { readonly text: string; isMet(direct: number, ours: number): boolean };

function atMost(limit: number, unit = ""): Goal {
  return { text: `≤ ${limit}${unit}`, isMet: (_, ours) => ours <= limit };
}
function timesAtMost(limit: number, text = `≤ ${limit.toFixed(1)} times`): Goal {
  return { text, isMet: (direct, ours) => ours / direct <= limit };
}
function timesAtLeast(limit: number): Goal {
  return { text: `≥ ${limit} times`, isMet: (direct, ours) => ours / direct >= limit };
}

export type Row = {
  readonly name: string;
  /** NaN where a side has no such figure. */
  readonly figure: (side: Measured) => number;
  readonly digits: number;
  readonly goal?: Goal;
};

/** The median of the rounds. */
function of(load: LoadName, pick: (figures: Figures) => number): (side: Measured) => number {
  return ({ loads }) => medianOf((loads.get(load) ?? []).map(pick));
}

function sumOf(parts: ReadonlyMap<Part, number>, wanted: readonly Part[]): number {
  const found = wanted.flatMap((part) => parts.get(part) ?? []);
  return found.length === 0 ? Number.NaN : found.reduce((sum, value) => sum + value, 0);
}

function lost({ failed, calls }: LoadResult): number {
  return (failed / calls) * 100;
}

type Memory = MemoryOfParts extends ReadonlyMap<Part, infer M> ? M : never;

function memoryOf(parts: MemoryOfParts, what: keyof Memory, wanted: readonly Part[]): number {
  return sumOf(new Map([...parts].map(([part, memory]) => [part, memory[what]])), wanted);
}

/** The most that these parts had after any of the loads that they outlived. */
function most(what: keyof Memory, wanted: readonly Part[]): (side: Measured) => number {
  return ({ loads }) => {
    const all = [...loads.values()].flat().map(({ memory }) => memoryOf(memory, what, wanted));
    return Math.max(...all.filter(Number.isFinite));
  };
}

function idle(load: LoadName, goal: Goal): readonly Row[] {
  return [
    { name: `${load}, one at a time: p50 ms`, figure: of(load, ({ p50 }) => p50), digits: 2, goal },
    { name: `${load}, one at a time: p99 ms`, figure: of(load, ({ p99 }) => p99), digits: 1 },
  ];
}

type StormGoals = { readonly rate?: Goal; readonly p99?: Goal; readonly lost?: Goal };

function storm(load: LoadName, goals: StormGoals): readonly Row[] {
  return [
    {
      name: `${load} at once: calls/s`,
      figure: of(load, ({ perSecond }) => perSecond),
      digits: 0,
      ...(goals.rate && { goal: goals.rate }),
    },
    { name: `${load} at once: p50 ms`, figure: of(load, ({ p50 }) => p50), digits: 1 },
    {
      name: `${load} at once: p99 ms`,
      figure: of(load, ({ p99 }) => p99),
      digits: 1,
      ...(goals.p99 && { goal: goals.p99 }),
    },
    { name: `${load} at once: lost %`, figure: of(load, lost), digits: 2, goal: goals.lost ?? atMost(0) },
  ];
}

function vault(load: LoadName, limit: number): Row {
  return {
    name: `Vault requests per 1,000 calls: ${load}`,
    figure: of(load, ({ vaultPer1000 }) => vaultPer1000),
    digits: 0,
    goal: atMost(limit),
  };
}

const plugin = ["plugin", "shim"] as const;
const own = [...plugin, "gateway"] as const;

export const startRows = {
  status: {
    name: "start to first good Status, ms: plugin, or shim",
    figure: ({ starts }) => medianOf(starts.map(({ status }) => status)),
    digits: 0,
    goal: atMost(150),
  },
  encrypt: {
    name: "start to first good Encrypt, ms: plugin, or shim",
    figure: ({ starts }) => medianOf(starts.map(({ encrypt }) => encrypt)),
    digits: 0,
  },
} as const satisfies Readonly<Record<string, Row>>;

export const memoryRows = {
  before: {
    name: "RSS MiB before any load: plugin, or shim",
    figure: ({ idle: memory }) => memoryOf(memory, "rssMiB", plugin),
    digits: 0,
    goal: atMost(64),
  },
  after: {
    name: "RSS MiB, the most after a load: plugin, or shim",
    figure: most("rssMiB", plugin),
    digits: 0,
    goal: atMost(96),
  },
} as const satisfies Readonly<Record<string, Row>>;

export const rows: readonly Row[] = [
  ...idle("idle encrypt", timesAtMost(1)),
  ...idle("idle decrypt", timesAtMost(1.4)),
  ...idle("idle status", timesAtMost(0.2)),
  ...storm("64 decrypts", { rate: timesAtLeast(5), p99: timesAtMost(1 / 6, "≤ 1/6") }),
  ...storm("512 decrypts", { rate: timesAtLeast(6), p99: timesAtMost(1 / 12, "≤ 1/12") }),
  ...storm("4,096 decrypts", {}),
  ...storm("64 encrypts", { rate: timesAtLeast(4) }),
  vault("64 decrypts", 20),
  vault("512 decrypts", 10),
  vault("64 encrypts", 40),
  vault("idle status", 1),
  {
    name: "CPU ms per call, 512 decrypts: plugin, or shim and gateway",
    figure: of("512 decrypts", ({ cpuMs }) => sumOf(cpuMs, own)),
    digits: 3,
    goal: atMost(0.1),
  },
  {
    name: "CPU ms per call, 512 decrypts: OpenBao",
    figure: of("512 decrypts", ({ cpuMs }) => sumOf(cpuMs, ["OpenBao"])),
    digits: 3,
    goal: atMost(0.05),
  },
  startRows.status,
  startRows.encrypt,
  memoryRows.before,
  {
    name: "of it private, MiB",
    figure: ({ idle: memory }) => memoryOf(memory, "privateMiB", plugin),
    digits: 0,
  },
  memoryRows.after,
  { name: "the most that was private after a load, MiB", figure: most("privateMiB", plugin), digits: 0 },
  { name: "processes that ended under a load", figure: ({ ended }) => ended, digits: 0, goal: atMost(0) },
];

/** Of Claviger alone: a direct plugin has no such process. */
export const gatewayRows: readonly Row[] = [
  { name: "RSS MiB before any load", figure: ({ idle: memory }) => memoryOf(memory, "rssMiB", ["gateway"]), digits: 0 },
  { name: "RSS MiB, the most after a load", figure: most("rssMiB", ["gateway"]), digits: 0 },
];
