// What cloud providers ask of an external key service: 1,800 requests a second, one in a hundred over a new
// TLS connection, for as long as one likes. How slow are the slowest, and do any fail?
import { percentileOf, shown, tableOf } from "../figures.ts";
import type { Failure } from "../protocol.ts";
import { costTable, failuresOf, latenessOf, rest, say, type Settings, withFleet } from "../run.ts";

export const defaults = { clusters: 3, nodes: 30, seconds: 60, statuses: 0, calls: 1800, attach: "both" } as const;

/** Two for each node and gateway of 90 nodes. */
const connections = 360;
const warmSeconds = 5;
/** A look at what was done so far; memory is that of so many seconds. */
const sliceSeconds = 10;

export async function run(settings: Settings): Promise<void> {
  await withFleet(settings, async ({ simulators, meter }) => {
    const { seconds, calls } = settings;
    say(`${calls} requests a second for ${seconds} s`);
    await simulators.stream({ perSecond: calls, connections, freshEvery: 99, waiting: 10_000, deadlines: [3000] });
    await rest(Math.min(warmSeconds, seconds));
    await simulators.take();
    await meter.take();
    const took: number[] = [];
    const failures: Failure[] = [];
    const slices: string[][] = [];
    const began = performance.now();
    for (let left = seconds; left > 0; left -= sliceSeconds) {
      await rest(Math.min(left, sliceSeconds));
      const taken = await simulators.take();
      const own = taken.samples.map((sample) => sample.took);
      for (const one of own) took.push(one);
      failures.push(...taken.failures);
      slices.push([
        shown((performance.now() - began) / 1000),
        shown(own.length),
        ...[0.5, 0.99, 0.999, 1].map((share) => shown(percentileOf(own, share), 1)),
        failuresOf(taken.failures),
        shown(taken.connected.length),
        latenessOf(taken).replace(/^.* late by (.*) ms in .* time, (.*) ms at most.*$/, "$1, $2"),
      ]);
    }
    const cost = await meter.take();
    const heldBack = await simulators.stream(null);
    const heads = ["after s", "answered", "p50 ms", "p99", "p99.9", "longest", "failed", "new connections"];
    console.log(`\n${tableOf([...heads, "callers' own delay p99, longest ms"], slices)}\n\n${costTable(cost)}\n`);
    console.log(`## ${calls} requests a second for ${seconds} s, 1 % of them over a new connection\n`);
    const of = (share: number): string => shown(percentileOf(took, share), 1);
    console.log(
      tableOf(
        ["figure", "goal", "measured"],
        [
          ["requests a second, answered well", shown(calls), shown(took.length / cost.seconds, 1)],
          ["p50, p99 ms", "", `${of(0.5)}, ${of(0.99)}`],
          ["p99.9 ms", "≤ 150", of(0.999)],
          ["longest ms", "", of(1)],
          ["failed", "0", failuresOf(failures)],
          ["held back by the callers", "0", shown(heldBack)],
        ],
      ),
    );
  });
}
