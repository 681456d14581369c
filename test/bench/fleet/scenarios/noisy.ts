// One cluster asks for a hundred times its share, over one connection and over 500: what do the others
// notice? And, by arithmetic alone, who shares both gateways with it where each cluster has two of eight.
import { createHash } from "node:crypto";
import { worstSharing } from "../cells.ts";
import { percentileOf, shown, tableOf } from "../figures.ts";
import type { FloodResult, Identity, Taken } from "../protocol.ts";
import { connect, costTable, failuresOf, latenessOf, rest, say, type Settings, withFleet } from "../run.ts";
import { openFlood } from "../simulators.ts";

export const defaults = { clusters: 30, nodes: 3, seconds: 15, statuses: 30, calls: 60, attach: "both" } as const;

const factor = 100;
const floodNodes = 10;

type Phase = { readonly name: string; readonly taken: Taken; readonly seconds: number; readonly flood?: FloodResult };

function rowsOf(phases: readonly Phase[]): readonly (readonly string[])[] {
  const p99Of = ({ samples }: Taken): number =>
    percentileOf(
      samples.map(({ took }) => took),
      0.99,
    );
  const quiet = percentileOf(
    phases.filter(({ flood }) => flood === undefined).map(({ taken }) => p99Of(taken)),
    0.5,
  );
  return phases.map(({ name, taken, seconds, flood }) => {
    const took = taken.samples.map((sample) => sample.took);
    return [
      name,
      shown(took.length / seconds, 1),
      [0.5, 0.99, 1].map((share) => shown(percentileOf(took, share), 1)).join(" / "),
      shown(p99Of(taken) / quiet, 2),
      failuresOf(taken.failures),
      flood === undefined ? "-" : shown(flood.sent / flood.seconds, 1),
      flood === undefined ? "-" : [0.5, 0.99].map((share) => shown(percentileOf(flood.took, share), 1)).join(" / "),
      flood === undefined
        ? "-"
        : [...flood.outcomes].map(([outcome, count]) => `${outcome}: ${shown(count)}`).join(", "),
    ];
  });
}

/** The cluster's share of the pairs, the same at every run. */
function byHash(cluster: number, pairs: number): number {
  return createHash("sha256").update(`cluster-${cluster}`).digest().readUInt32BE(0) % pairs;
}

/** Cells of 2 of 8 gateways. */
export function cellsTable(clusters: number): string {
  const percent = (share: number): string => `${shown(share * 100, 2)} %`;
  const rowOf = (name: string, pairOf: (cluster: number, pairs: number) => number): readonly string[] => {
    const { both, one, none } = worstSharing(clusters, 8, pairOf);
    return [name, percent(both), percent(one), percent(none)];
  };
  return tableOf(
    [`${shown(clusters)} clusters, 2 of 8 gateways each`, "share both (1/28 is 3.57 %)", "share one", "share none"],
    [rowOf("in turn over the 28 pairs", (cluster, pairs) => cluster % pairs), rowOf("by a hash of the name", byHash)],
  );
}

export async function run(settings: Settings): Promise<void> {
  await withFleet(settings, async (fleet) => {
    const { world, simulators, meter, identities } = fleet;
    const [noisy = "", ...others] = world.clusters;
    await connect(
      fleet,
      identities.filter(({ cluster }) => cluster !== noisy),
    );
    await simulators.statuses(settings.statuses);
    await simulators.calls(settings.calls);
    await rest(5);
    const perSecond = Math.round((factor * settings.calls) / others.length);
    const urls = world.gateways.map(({ url }) => url);
    const floodIdentities = Array.from({ length: floodNodes }, (_, i): Identity => {
      return { index: i, cluster: noisy, node: `node-${String(i + 1).padStart(3, "0")}`, gateways: urls };
    });
    const { seconds } = settings;
    const phases: Phase[] = [];
    for (const connections of [0, 1, 0, 500, 0]) {
      say(connections === 0 ? "quiet" : `${perSecond} calls a second of one cluster from ${connections} connections`);
      await rest(3);
      const name = connections === 0 ? "quiet" : `${connections} connections`;
      const flood = { identities: floodIdentities, connections, perSecond, seconds: seconds + 2 };
      const open = connections === 0 ? undefined : await openFlood(world.ca, flood);
      // Handshakes are over, and what they held up.
      await rest(3);
      const flooding = open?.run();
      await simulators.take();
      await meter.take();
      await rest(seconds);
      const [taken, cost] = [await simulators.take(), await meter.take()];
      const flooded = await flooding;
      phases.push({ name, taken, seconds: cost.seconds, ...(flooded !== undefined && { flood: flooded }) });
      console.log(`\n${name}\n\n${costTable(cost)}\n\n${latenessOf(taken)}`);
    }
    await simulators.calls(0);
    await simulators.statuses(0);
    const share = shown(settings.calls / others.length, 1);
    console.log(`\n## ${others.length} clusters of ${share} calls a second each, and one that wants ${perSecond}\n`);
    const heads = [
      "while",
      "others: good a second",
      "others: p50 / p99 / max ms",
      "p99 / quiet",
      "others: failed",
      "noisy: sent a second",
      "noisy: p50 / p99 ms",
      "noisy: outcomes",
    ];
    console.log(tableOf(heads, rowsOf(phases)));
  });
  console.log(`\n## Cells\n\n${cellsTable(10_000)}`);
}
