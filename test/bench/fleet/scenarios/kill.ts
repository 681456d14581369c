// One of two gateways is killed under load, and started again later. What do the apiservers notice, how
// long until every shim is served, and how many connections does its return bring at once?
import { setTimeout as sleep } from "node:timers/promises";
import { readyLine } from "../../../lab/process-group.ts";
import { percentileOf, secondsOf, shown, sparkline, tableOf } from "../figures.ts";
import { metricOf } from "../meter.ts";
import { writePicture } from "../picture.ts";
import type { Sample, Taken } from "../protocol.ts";
import { callTable, connect, connectionsOf, costTable, failuresOf, say, type Settings, withFleet } from "../run.ts";
import type { World } from "../world.ts";

export const defaults = { clusters: 60, nodes: 3, seconds: 60, statuses: 60, calls: 40, attach: "both" } as const;

function now(): number {
  return performance.timeOrigin + performance.now();
}

/** Seconds until each shim had its first Status that a gateway confirmed, after a moment. */
function servedAfter(samples: readonly Sample[], moment: number): readonly number[] {
  const first = new Map<number, number>();
  for (const { kind, at, took, shim, isInGrace } of samples)
    if (kind === "status" && at >= moment && !isInGrace) {
      const done = (at + took - moment) / 1000;
      first.set(shim, Math.min(first.get(shim) ?? done, done));
    }
  return [...first.values()];
}

/** Connections of each gateway, once a second until the signal ends. */
async function watchConnections(
  { gateways }: World,
  signal: AbortSignal,
): Promise<readonly (readonly [number, number[]])[]> {
  const seen: [number, number[]][] = [];
  for (; !signal.aborted; await sleep(1000))
    seen.push([
      now(),
      await Promise.all(gateways.map(({ metrics }) => metricOf(metrics, "claviger_gateway_connections"))),
    ]);
  return seen;
}

type Moments = { readonly began: number; readonly killed: number; readonly back: number; readonly ended: number };

function report(
  { samples, failures, connected, refused }: Taken,
  { began, killed, back, ended }: Moments,
  connections: readonly (readonly [number, readonly number[]])[],
  shims: number,
  svg: string,
): void {
  const seconds = Math.floor((ended - began) / 1000);
  const per = <T>(items: readonly T[], at: (item: T) => number, figure: (items: readonly T[]) => number) =>
    secondsOf(items, { from: began, seconds, at, figure });
  const count = (items: readonly unknown[]): number => items.length;
  const isStatus = ({ kind }: Sample): boolean => kind === "status";
  const p99 = (items: readonly Sample[]): number =>
    percentileOf(
      items.map(({ took }) => took),
      0.99,
    );
  const handshakes = per(connected, (at) => at, count);
  const [statuses, calls] = [samples.filter(isStatus), samples.filter((sample) => !isStatus(sample))];
  const series = { status: per(statuses, ({ at }) => at, p99), kms: per(calls, ({ at }) => at, p99) };
  const failed = per(failures, ({ at }) => at, count);
  const at = (moment: number): string => `${shown((moment - began) / 1000)} s`;
  console.log(`\n## One gateway killed at ${at(killed)}, started again at ${at(back)}, ${seconds} s in all\n`);
  const between = (from: number, to: number): Taken => {
    const inside = (moment: number): boolean => moment >= from && moment < to;
    return {
      samples: samples.filter((sample) => inside(sample.at)),
      failures: failures.filter((failure) => inside(failure.at)),
      shown: [],
      connected: connected.filter(inside),
      refused: refused.filter(inside),
    };
  };
  for (const [name, from, to] of [
    ["Before", began, killed],
    ["With one", killed, back],
    ["With both again", back, ended],
  ] as const)
    console.log(`${name}\n\n${callTable(between(from, to), (to - from) / 1000)}\n`);
  const served = servedAfter(samples, killed);
  console.log(
    tableOf(
      ["what", "figure"],
      [
        ["shims with a Status from the other gateway", `${shown(served.length)} of ${shown(shims)}`],
        [
          "until then p50 / p99 / max s (each is asked in turn)",
          [0.5, 0.99, 1].map((share) => shown(percentileOf(served, share), 1)).join(" / "),
        ],
        ["calls that failed, all told", failuresOf(failures)],
        ["Status of the last key_id (grace)", shown(samples.filter(({ isInGrace }) => isInGrace).length)],
        [
          "handshakes a second: most before the kill, with one, with both again",
          [
            [began, killed],
            [killed, back],
            [back, ended],
          ]
            .map(([from = 0, to = 0]) =>
              shown(
                Math.max(
                  0,
                  ...per(
                    connected.filter((one) => one >= from && one < to),
                    (one) => one,
                    count,
                  ),
                ),
              ),
            )
            .join(", "),
        ],
        [
          "handshakes in all after the return, failed attempts",
          `${shown(connected.filter((one) => one >= back).length)}, ${shown(refused.length)}`,
        ],
        [
          "seconds from the return to the last new connection",
          shown((Math.max(...connected.filter((one) => one >= back)) - back) / 1000, 1),
        ],
      ],
    ),
  );
  console.log(`\nOne character a second, the highest bar:\n`);
  const line = (name: string, values: readonly number[], unit: string): string =>
    `    ${name.padEnd(22)}${sparkline(values)}  ${shown(Math.max(0, ...values.filter(Number.isFinite)), 1)} ${unit}`;
  console.log(line("handshakes", handshakes, "/s"));
  console.log(line("p99 of Status", series.status, "ms"));
  console.log(line("p99 of KMS calls", series.kms, "ms"));
  console.log(line("failed calls", failed, "/s"));
  if (svg === "") return;
  const points = (values: readonly number[]) => values.map((value, i) => [i, value] as const);
  const marks = [
    { x: (killed - began) / 1000, name: "kill -9" },
    { x: (back - began) / 1000, name: "started again" },
  ];
  const xLabel = "seconds";
  writePicture(svg, [
    {
      title: "Handshakes a second",
      series: [
        { name: "made", points: points(handshakes) },
        { name: "failed", points: points(per(refused, (one) => one, count)) },
      ],
      xLabel,
      marks,
    },
    {
      title: "p99, milliseconds",
      series: [
        { name: "Status", points: points(series.status) },
        { name: "KMS calls", points: points(series.kms) },
      ],
      xLabel,
      marks,
    },
    {
      title: "Connections of each gateway",
      series: (connections[0]?.[1] ?? []).map((_, i) => ({
        name: `gateway-${i + 1}`,
        points: connections.map(
          ([moment, all]) => [(moment - began) / 1000, Number.isFinite(all[i]) ? (all[i] ?? 0) : 0] as const,
        ),
      })),
      xLabel,
      marks,
    },
  ]);
  console.log(`\nPicture: ${svg}`);
}

/** A third of the time before the kill, a third with one gateway, a third with both again. */
export async function run(settings: Settings): Promise<void> {
  await withFleet(settings, async (fleet) => {
    const { world, simulators, meter, identities } = fleet;
    const made = await connect(fleet, identities);
    const open = await connectionsOf(world);
    console.log(
      `\n${shown(identities.length)} shims connected in ${shown(made.seconds, 1)} s; connections: ${open.map((one) => shown(one)).join(", ")}`,
    );
    await simulators.statuses(settings.statuses);
    await simulators.calls(settings.calls);
    await sleep(5000);
    await simulators.take();
    await meter.take();
    const third = (settings.seconds * 1000) / 3;
    const end = new AbortController();
    const watching = watchConnections(world, end.signal);
    const began = now();
    await sleep(third);
    const victim = world.gateways[1];
    if (victim === undefined) throw new TypeError("a second gateway is needed");
    say("kill -9");
    const killed = now();
    victim.proc.child.kill("SIGKILL");
    await victim.proc.ended;
    await sleep(third);
    say("started again");
    const proc = world.processes.start(victim.name, victim.proc.argv);
    world.gateways[1] = { ...victim, proc };
    await readyLine(proc);
    const back = now();
    await sleep(third);
    const ended = now();
    const [taken, cost] = [await simulators.take(), await meter.take()];
    end.abort();
    const connections = await watching;
    await simulators.calls(0);
    await simulators.statuses(0);
    report(taken, { began, killed, back, ended }, connections, identities.length, settings.svg);
    console.log(
      `\nConnections at the end: ${(await connectionsOf(world)).map((one) => shown(one)).join(", ")}\n\n${costTable(cost)}`,
    );
  });
}
