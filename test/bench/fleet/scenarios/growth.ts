// What a fleet costs as it grows: the same for 1, 10 and 100 times a number of clusters, each with its
// share of Status and of KMS calls.
import { shown, tableOf } from "../figures.ts";
import { type Cost, vaultPerSecond } from "../meter.ts";
import { writePicture } from "../picture.ts";
import type { Taken } from "../protocol.ts";
import {
  connect,
  type Connected,
  connectionsOf,
  failuresOf,
  rest,
  say,
  type Settings,
  spreadOf,
  withFleet,
} from "../run.ts";

/** `clusters` is the greatest number; each shim's Status is asked once a minute. */
export const defaults = { clusters: 1000, nodes: 1, seconds: 15, statuses: 0, calls: 0, attach: "one" } as const;

const secondsPerStatus = 60;

type Size = {
  readonly clusters: number;
  readonly shims: number;
  readonly connected: Connected;
  readonly open: readonly number[];
  readonly cost: Cost;
  readonly taken: Taken;
};

async function measure(settings: Settings): Promise<Size> {
  return await withFleet(settings, async (fleet) => {
    const { world, simulators, meter, identities } = fleet;
    const connected = await connect(fleet, identities);
    await simulators.statuses(identities.length / secondsPerStatus);
    if (settings.calls > 0) await simulators.calls(settings.calls);
    await rest(10);
    await simulators.take();
    await meter.take();
    await rest(settings.seconds);
    const [cost, taken] = [await meter.take(), await simulators.take()];
    const open = await connectionsOf(world);
    await simulators.calls(0);
    await simulators.statuses(0);
    return { clusters: settings.clusters, shims: identities.length, connected, open, cost, taken };
  });
}

function sumOf({ cpu }: Cost, isWanted: (part: string) => boolean): number {
  return [...cpu].reduce((sum, [part, value]) => sum + (isWanted(part) ? value : 0), 0);
}
function isGateway(part: string): boolean {
  return part.startsWith("gateway-");
}
function largestGateway({ rss }: Cost): number {
  return Math.max(...[...rss].flatMap(([part, value]) => (isGateway(part) ? [value] : [])));
}

function draw(svg: string, sizes: readonly Size[]): void {
  const series = (name: string, of: (size: Size) => number) => ({
    name,
    points: sizes.map((size) => [size.clusters, of(size)] as const),
  });
  const xLabel = "clusters";
  writePicture(svg, [
    {
      title: "Requests to Vault a second",
      series: [series("requests", ({ cost }) => vaultPerSecond(cost))],
      xLabel,
      isLog: true,
    },
    {
      title: "CPU, % of a core",
      series: [
        series("gateways", ({ cost }) => sumOf(cost, isGateway)),
        series("OpenBao", ({ cost }) => sumOf(cost, (part) => part === "OpenBao")),
        series("Redis", ({ cost }) => sumOf(cost, (part) => part === "Redis")),
      ],
      xLabel,
      isLog: true,
    },
    {
      title: "RSS of a gateway, MiB",
      series: [series("RSS", ({ cost }) => largestGateway(cost))],
      xLabel,
      isLog: true,
    },
  ]);
  console.log(`\nPicture: ${svg}`);
}

export async function run(settings: Settings): Promise<void> {
  const sizes: Size[] = [];
  for (const divisor of [100, 10, 1]) {
    const clusters = Math.max(1, Math.round(settings.clusters / divisor));
    say(`${clusters} clusters`);
    sizes.push(await measure({ ...settings, clusters, calls: settings.calls / divisor }));
    console.log("");
  }
  console.log("## Growth\n");
  const heads = [
    "clusters",
    "shims",
    "connections of each gateway",
    "connecting: s, Vault requests",
    "Status/s",
    "Status p50 / p99 / max ms",
    "failed",
    "Vault requests/s",
    "CPU %: gateways, OpenBao, Redis",
    "RSS of a gateway, MiB",
    "shims late: p99 ms",
  ];
  const rows = sizes.map(({ clusters, shims, connected, open, cost, taken }) => [
    shown(clusters),
    shown(shims),
    open.map((one) => shown(one)).join(", "),
    `${shown(connected.seconds, 1)}, ${shown(vaultPerSecond(connected.cost) * connected.cost.seconds)}`,
    shown(taken.samples.filter(({ kind }) => kind === "status").length / cost.seconds, 1),
    spreadOf(taken.samples.filter(({ kind }) => kind === "status")),
    failuresOf(taken.failures),
    `${shown(vaultPerSecond(cost), 1)} (${[...cost.vault].map(([name, count]) => `${name} ${shown(count / cost.seconds, 1)}`).join(", ")})`,
    [sumOf(cost, isGateway), sumOf(cost, (part) => part === "OpenBao"), sumOf(cost, (part) => part === "Redis")]
      .map((value) => shown(value, 1))
      .join(", "),
    shown(largestGateway(cost), 1),
    shown(taken.late.p99, 1),
  ]);
  console.log(tableOf(heads, rows));
  if (settings.svg !== "") draw(settings.svg, sizes);
}
