// All apiservers of many clusters start at once, as after a power cut: each with seeds of its own to
// decrypt, again and again until its caches are full. First with shims that run, then with shims that start
// at the same moment.
import { percentileOf, shown, tableOf } from "../figures.ts";
import { vaultPerSecond } from "../meter.ts";
import { connect, costTable, failuresOf, latenessOf, rest, say, type Settings, spreadOf, withFleet } from "../run.ts";

export const defaults = { clusters: 20, nodes: 3, seconds: 5, statuses: 0, calls: 0, attach: "both" } as const;

const seeds = 3;
/**
 * Decrypts of each seed at once. A shim makes one request of them, so more would only be work for the
 * simulated shims, which have no machines of their own.
 */
const copies = 10;
const rounds = 3;

export async function run(settings: Settings): Promise<void> {
  await withFleet(settings, async (fleet) => {
    const { simulators, meter, identities } = fleet;
    await connect(fleet, identities);
    await simulators.seal(seeds);
    const rows: string[][] = [];
    for (const isCold of [false, true])
      for (let round = 1; round <= rounds; round += 1) {
        await rest(settings.seconds);
        await simulators.take();
        await meter.take();
        say(`${identities.length} apiservers start, shims ${isCold ? "too" : "run"}`);
        const began = performance.now();
        const took = await simulators.restart(copies, isCold);
        const wall = performance.now() - began;
        const [cost, taken] = [await meter.take(), await simulators.take()];
        const decrypts = taken.samples.filter(({ kind }) => kind === "decrypt");
        rows.push([
          `${isCold ? "shims start as well" : "shims run"}, ${round}`,
          shown(took.length),
          `${shown(wall)} ms`,
          [0.5, 0.99, 1].map((share) => shown(percentileOf(took, share))).join(" / "),
          shown(decrypts.length),
          spreadOf(decrypts),
          failuresOf(taken.failures),
          shown(taken.connected.length),
          shown(vaultPerSecond(cost) * cost.seconds),
        ]);
        if (round === rounds)
          console.log(
            `\n${isCold ? "Shims start as well" : "Shims run"}\n\n${costTable(cost)}\n\n${latenessOf(taken)}`,
          );
      }
    console.log(
      `\n## ${identities.length} apiservers start at once, ${seeds} seeds each, ${copies} Decrypts of each seed\n`,
    );
    const heads = [
      "round",
      "apiservers",
      "all done in",
      "each: p50 / p99 / max ms",
      "Decrypts",
      "Decrypt p50 / p99 / max ms",
      "failed",
      "connections made",
      "Vault requests",
    ];
    console.log(tableOf(heads, rows));
  });
}
