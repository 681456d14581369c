// Ten times what can be served. First the peak: so many callers that one more brings nothing. Then ten times
// as many callers and ten times as many requests. Some callers have little patience, so that requests past
// their deadline exist at all; did any of them reach Vault?
import { arrivalsIn } from "../deadlines.ts";
import { percentileOf, shown, tableOf } from "../figures.ts";
import type { Failure, Stream } from "../protocol.ts";
import { costTable, failuresOf, type Fleet, rest, say, type Settings, withFleet } from "../run.ts";

export const defaults = { clusters: 3, nodes: 30, seconds: 60, statuses: 0, calls: 0, attach: "both" } as const;

const factor = 10;
/** Twice as many callers each time, while that serves more. */
const callers = [32, 64, 128];
/** More than anything on two cores serves: the callers hold back what they have no connection for. */
const endless = 20_000;
/** Every fifth has a tenth of a second, the others what kube-apiserver gives. */
const deadlines = [3000, 3000, 3000, 3000, 100];

type Phase = {
  readonly callers: number;
  readonly offered: number;
  readonly good: number;
  /** CPU time of all parts for an answer, milliseconds: comparable where others take a part of the machine. */
  readonly cpuMs: number;
  readonly took: readonly number[];
  readonly failures: readonly Failure[];
  readonly heldBack: number;
  /** How late the callers' own event loops were, milliseconds: what they meant to send stood there meanwhile. */
  readonly late: readonly number[];
};

async function measure({ simulators, meter }: Fleet, stream: Stream, seconds: number): Promise<Phase> {
  await simulators.stream(stream);
  await rest(Math.min(5, seconds));
  await simulators.take();
  await meter.take();
  const took: number[] = [];
  const failures: Failure[] = [];
  let late = [0, 0];
  for (let left = seconds; left > 0; left -= 5) {
    await rest(Math.min(5, left));
    const taken = await simulators.take();
    for (const sample of taken.samples) took.push(sample.took);
    for (const failure of taken.failures) failures.push(failure);
    late = [Math.max(late[0] ?? 0, taken.late.p99), Math.max(late[1] ?? 0, taken.late.max)];
  }
  const cost = await meter.take();
  const heldBack = await simulators.stream(null);
  console.log(`\n${stream.connections} callers, ${shown(stream.perSecond)} requests a second\n\n${costTable(cost)}`);
  return {
    callers: stream.connections,
    offered: stream.perSecond,
    good: took.length / cost.seconds,
    cpuMs: ([...cost.cpu.values()].reduce((sum, cpu) => sum + cpu, 0) * 10 * cost.seconds) / took.length,
    took,
    failures,
    heldBack,
    late,
  };
}

function rowOf(name: string, phase: Phase): readonly string[] {
  const { callers: all, offered, good, cpuMs, took, failures, heldBack } = phase;
  const times = [0.5, 0.99, 1].map((share) => shown(percentileOf(took, share), 1));
  return [
    name,
    shown(all),
    shown(offered),
    shown(good, 1),
    shown(cpuMs, 2),
    times.join(" / "),
    failuresOf(failures),
    shown(heldBack),
  ];
}

export async function run(settings: Settings): Promise<void> {
  await withFleet({ ...settings, isRaw: true }, async (fleet) => {
    const began = Date.now();
    const common = { freshEvery: 0, waiting: 0, deadlines };
    const most = Math.max(3, settings.seconds / 6);
    let peak: Phase | undefined;
    for (const connections of callers) {
      say(`the peak, ${connections} callers`);
      const phase = await measure(fleet, { ...common, perSecond: endless, connections }, most);
      if (peak === undefined || phase.good > peak.good) peak = phase;
    }
    if (peak === undefined) throw new TypeError("no callers");
    say(`${factor} times as much`);
    const more = { ...common, perSecond: factor * peak.good, connections: factor * peak.callers };
    const over = await measure(fleet, more, settings.seconds);
    const { total, late, latest } = await arrivalsIn(fleet.world.rawAudit, began);
    console.log(`\n## ${factor} times what can be served, for ${settings.seconds} s\n`);
    const heads = [
      "load",
      "callers",
      "offered a second",
      "good a second",
      "CPU of all parts for one, ms",
      "p50 / p99 / longest ms",
      "failed",
      "held back",
    ];
    console.log(tableOf(heads, [rowOf("peak", peak), rowOf(`${factor} times`, over)]));
    console.log("");
    console.log(
      tableOf(
        ["figure", "goal", "measured"],
        [
          ["goodput, share of the peak", "≥ 90 %", `${shown((over.good / peak.good) * 100, 1)} %`],
          ["accepted p99 ms", "≤ 500", shown(percentileOf(over.took, 0.99), 1)],
          ["Encrypts that reached Vault", "", shown(total)],
          ["of these past their caller's deadline", "0", shown(late)],
          ["the latest by ms", "0", shown(latest, 1)],
          ["the callers' own delay, p99 and longest ms", "", over.late.map((ms) => shown(ms, 1)).join(", ")],
        ],
      ),
    );
  });
}
