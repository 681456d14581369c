// What a killed gateway's shims and apiservers noticed: tables, lines of text, and a picture.
import { percentileOf, secondsOf, shown, sparkline, tableOf } from "./figures.ts";
import { writePicture } from "./picture.ts";
import type { Sample, Taken } from "./protocol.ts";
import { callTable, failuresOf, latenessOf } from "./run.ts";

/** What was seen of the gateways once a second, or at a moment: a number for each, NaN where it is down. */
export type Seen = { readonly at: number; readonly of: readonly number[] };

export type KillRun = {
  readonly taken: Taken;
  /** Unix milliseconds: the first moment, that of the kill, that when it served again, the last one. */
  readonly began: number;
  readonly killed: number;
  readonly back: number;
  readonly ended: number;
  readonly connections: readonly Seen[];
  /** Requests that each gateway answered before the kill, and after the return. */
  readonly requests: { readonly before: readonly number[]; readonly after: readonly number[] };
  readonly shims: number;
};

type Series = Readonly<Record<"handshakes" | "refused" | "status" | "kms" | "failed", readonly number[]>>;

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

function seriesOf({ taken, began, ended }: KillRun): Series {
  const span = { from: began, seconds: Math.floor((ended - began) / 1000) };
  const count = (items: readonly unknown[]): number => items.length;
  const moments = (items: readonly number[]) => secondsOf(items, { ...span, at: (moment) => moment, figure: count });
  const p99 = (items: readonly Sample[]): number => {
    const took = items.map((sample) => sample.took);
    return percentileOf(took, 0.99);
  };
  const latency = (isWanted: (sample: Sample) => boolean) =>
    secondsOf(taken.samples.filter(isWanted), { ...span, at: ({ at }) => at, figure: p99 });
  return {
    handshakes: moments(taken.connected),
    refused: moments(taken.refused),
    failed: moments(taken.failures.map(({ at }) => at)),
    status: latency(({ kind }) => kind === "status"),
    kms: latency(({ kind }) => kind !== "status"),
  };
}

function printCalls({ taken, began, killed, back, ended }: KillRun): void {
  const parts = [
    ["Before", began, killed],
    ["With one gateway", killed, back],
    ["With both again", back, ended],
  ] as const;
  for (const [name, from, to] of parts) {
    const isInside = ({ at }: { readonly at: number }): boolean => at >= from && at < to;
    const own = { ...taken, samples: taken.samples.filter(isInside), failures: taken.failures.filter(isInside) };
    console.log(`${name}\n\n${callTable(own, (to - from) / 1000)}\n`);
  }
}

function mostOf(values: readonly number[]): number {
  return Math.max(0, ...values.filter(Number.isFinite));
}

function printFigures(run: KillRun, { handshakes }: Series): void {
  const { taken, began, killed, back, shims, requests } = run;
  const { samples, failures, connected, refused } = taken;
  const served = servedAfter(samples, killed);
  const [atKill, atReturn] = [killed, back].map((moment) => Math.floor((moment - began) / 1000));
  const most = [handshakes.slice(0, atKill), handshakes.slice(atKill, atReturn), handshakes.slice(atReturn)];
  const since = connected.filter((moment) => moment >= back);
  const rows = [
    ["shims with a Status from the other gateway", `${shown(served.length)} of ${shown(shims)}`],
    [
      "until then p50 / p99 / max s (each is asked in turn)",
      [0.5, 0.99, 1].map((share) => shown(percentileOf(served, share), 1)).join(" / "),
    ],
    ["calls that failed, all told", failuresOf(failures)],
    ["Status of the last key_id (grace)", shown(samples.filter(({ isInGrace }) => isInGrace).length)],
    [
      "most handshakes in a second: before the kill, with one gateway, with both again",
      most.map((one) => shown(mostOf(one))).join(", "),
    ],
    ["connections made after the return", shown(since.length)],
    ["attempts to connect that failed, all told", shown(refused.length)],
    [
      "half of them were made within, all within, s",
      [0.5, 1].map((share) => shown((percentileOf(since, share) - back) / 1000, 1)).join(", "),
    ],
    ["requests that each gateway answered before the kill", requests.before.map((one) => shown(one)).join(", ")],
    ["the same after the return", requests.after.map((one) => shown(one)).join(", ")],
  ];
  console.log(tableOf(["what", "figure"], rows));
}

function printLines({ handshakes, status, kms, failed }: Series): void {
  const line = (name: string, values: readonly number[], unit: string): string =>
    `    ${name.padEnd(22)}${sparkline(values)}  ${shown(mostOf(values), 1)} ${unit}`;
  console.log("\nOne character a second; the highest bar:\n");
  console.log(line("handshakes", handshakes, "a second"));
  console.log(line("p99 of Status", status, "ms"));
  console.log(line("p99 of KMS calls", kms, "ms"));
  console.log(line("failed calls", failed, "a second"));
}

function draw(svg: string, { began, killed, back, connections }: KillRun, series: Series): void {
  const after = (moment: number): number => (moment - began) / 1000;
  const curve = (name: string, values: readonly number[]) => ({
    name,
    points: values.map((value, i) => [i, value] as const),
  });
  const axis = {
    xLabel: "seconds",
    marks: [
      { x: after(killed), name: "kill -9" },
      { x: after(back), name: "started again" },
    ],
  };
  const gateways = (connections[0]?.of ?? []).map((_, i) => ({
    name: `gateway-${i + 1}`,
    points: connections.map(({ at, of }) => [after(at), Number.isFinite(of[i]) ? (of[i] ?? 0) : 0] as const),
  }));
  const { handshakes, refused, status, kms } = series;
  writePicture(svg, [
    { title: "Handshakes a second", series: [curve("made", handshakes), curve("failed", refused)], ...axis },
    { title: "p99, milliseconds", series: [curve("Status", status), curve("KMS calls", kms)], ...axis },
    { title: "Connections of each gateway", series: gateways, ...axis },
  ]);
  console.log(`\nPicture: ${svg}`);
}

/** Prints what became of the calls, and draws it where a file is named. */
export function report(run: KillRun, svg: string): void {
  const { began, killed, back, ended } = run;
  const [at, again, all] = [killed, back, ended].map((moment) => shown((moment - began) / 1000));
  console.log(`\n## One gateway killed at ${at} s, serving again at ${again} s, ${all} s in all\n`);
  const series = seriesOf(run);
  printCalls(run);
  printFigures(run, series);
  printLines(series);
  console.log(`\n${latenessOf(run.taken)}`);
  if (svg !== "") draw(svg, run, series);
}
