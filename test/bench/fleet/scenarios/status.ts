// Status of a whole fleet: every shim asks once a minute, as kube-apiserver does, each over its own
// connection under its own name.
import { shown, tableOf } from "../figures.ts";
import {
  callTable,
  connect,
  connectionsOf,
  costTable,
  failuresOf,
  latenessOf,
  rest,
  type Settings,
  vaultRequestsOf,
  withFleet,
} from "../run.ts";

export const defaults = { clusters: 100, nodes: 3, seconds: 20, statuses: 100, calls: 0, attach: "one" } as const;

/** The last node of each cluster connects later: then all keys are known, and connections alone cost. */
export async function run(settings: Settings): Promise<void> {
  await withFleet(settings, async (fleet) => {
    const { world, simulators, meter, identities } = fleet;
    const names = world.gateways.map(({ name }) => name);
    const measure = async () => {
      await rest(3);
      return { cost: await meter.take(), open: await connectionsOf(world) };
    };
    const base = await measure();
    const isLast = ({ index }: { readonly index: number }): boolean => index % settings.nodes === settings.nodes - 1;
    const first = await connect(
      fleet,
      identities.filter((identity) => !isLast(identity)),
    );
    const half = await measure();
    const second = await connect(fleet, identities.filter(isLast), "more");
    const full = await measure();
    console.log("\n## Connecting\n");
    console.log(
      tableOf(
        ["shims", "seconds", "a second", "Status that failed at first", "requests to Vault"],
        [
          { count: identities.filter((one) => !isLast(one)).length, ...first },
          { count: identities.filter(isLast).length, ...second },
        ].map(({ count, seconds, failed, cost }) => [
          shown(count),
          shown(seconds, 1),
          shown(count / seconds),
          shown(failed),
          shown([...cost.vault.values()].reduce((sum, value) => sum + value, 0)),
        ]),
      ),
    );
    console.log(`\nThe first ones: ${vaultRequestsOf(first.cost)}`);
    const memory = (name: string, i: number): readonly string[] => {
      const at = [base, half, full].map(({ cost, open }) => ({
        rss: cost.rss.get(name) ?? Number.NaN,
        open: open[i] ?? Number.NaN,
      }));
      const [none, some, all] = at;
      const perConnection = (a: typeof none, b: typeof none): string =>
        a === undefined || b === undefined ? "-" : shown(((b.rss - a.rss) * 1024) / (b.open - a.open), 1);
      return [
        name,
        ...at.map(({ rss, open }) => `${shown(open)}: ${shown(rss, 1)}`),
        perConnection(none, all),
        perConnection(some, all),
      ];
    };
    const heads = ["nothing", "keys known", "all", "KiB each beyond nothing", "KiB each of the last"];
    console.log("\n## Memory: connections and RSS in MiB\n");
    console.log(tableOf(["gateway", ...heads], names.map(memory)));

    await simulators.take();
    await simulators.statuses(settings.statuses);
    await rest(settings.seconds / 3);
    await simulators.take();
    await meter.take();
    await rest(settings.seconds);
    const [taken, cost] = [await simulators.take(), await meter.take()];
    await simulators.statuses(0);
    console.log(`\n## ${settings.statuses} Status a second over ${shown(identities.length)} shims\n`);
    console.log(callTable(taken, cost.seconds));
    console.log(`\n${latenessOf(taken)}`);
    console.log(`\n${costTable(cost)}`);
    const open = await connectionsOf(world);
    console.log(
      `\nConnections at the end: ${open.map((count) => shown(count)).join(", ")}; made meanwhile: ${taken.connected.length}; failed calls: ${failuresOf(taken.failures)}`,
    );
  });
}
