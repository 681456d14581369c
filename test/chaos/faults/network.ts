// Partitions, and links that are long or lose packets. What is cut off is not told: packets go nowhere.
import { at, type Course, type Fault } from "../fault.ts";
import { byUse } from "../gateways.ts";
import type { Link } from "../network.ts";
import type { Site } from "../site.ts";

type Ends = readonly [readonly string[], readonly string[]];

const nodesOfOpenBao = ["openbao-0", "openbao-1", "openbao-2"];
const gateways = ["gateway-1", "gateway-2"];
const nodes = ["node-1", "node-2", "node-3"];
const needs = ["isolation"] as const;
const other = "the other gateway";

async function linked(
  { network }: Site,
  { hold, over }: Course,
  link: Link,
  [some, others]: Ends,
  ms?: number,
): Promise<void> {
  await network.set(link, some, others);
  try {
    await hold(ms);
  } finally {
    await network.set({}, some, others);
    over();
  }
}

async function machineOfLeader({ raft }: Site): Promise<string> {
  const leader = await raft.leader();
  return `openbao-${raft.nodes.indexOf(leader)}`;
}

async function usedGateway(site: Site): Promise<string> {
  return at(await byUse(site), 0).name;
}

function partition(id: string, name: string, left: string, find: (site: Site) => Ends | Promise<Ends>): Fault {
  return {
    id: `cut-${id}`,
    name: `partition: ${name}`,
    left,
    needs,
    run: async (site, course) => await linked(site, course, { cut: true }, await find(site)),
  };
}

const partitions: readonly Fault[] = [
  partition("gateway-openbao", "the gateway in use and OpenBao", other, async (site) => [
    [await usedGateway(site)],
    nodesOfOpenBao,
  ]),
  partition("gateways-leader", "both gateways and OpenBao's leader", "two nodes of OpenBao", async (site) => [
    gateways,
    [await machineOfLeader(site)],
  ]),
  partition("leader-followers", "OpenBao's leader and its followers", "two nodes of OpenBao", async (site) => {
    const leader = await machineOfLeader(site);
    return [[leader], nodesOfOpenBao.filter((name) => name !== leader)];
  }),
  partition("gateway-redis", "the gateway in use and Redis", other, async (site) => [
    [await usedGateway(site)],
    ["redis"],
  ]),
  partition("gateways-redis", "both gateways and Redis", "no Redis: gateways go on without", () => [
    gateways,
    ["redis"],
  ]),
  partition("shim-gateway", "node 1 and the gateway in use", other, async (site) => [
    ["node-1"],
    [await usedGateway(site)],
  ]),
  partition("shims-gateway", "all nodes and the gateway in use", other, async (site) => [
    nodes,
    [await usedGateway(site)],
  ]),
  partition("gateway-all", "the gateway in use and everything else", other, async (site) => [
    [await usedGateway(site)],
    [...nodesOfOpenBao, ...nodes, "redis", "main"],
  ]),
];

const between = {
  shims: { name: "shims and gateways", ends: [nodes, gateways] },
  backends: { name: "gateways and OpenBao, Redis", ends: [gateways, [...nodesOfOpenBao, "redis"]] },
} as const;

/** What a slow or lossy link is said to be, and is: a round trip takes `ms`. */
const qualities: readonly { readonly id: string; readonly name: string; readonly link: Link }[] = [
  { id: "40ms", name: "40 ms", link: { delayMs: 20 } },
  { id: "150ms", name: "150 ms", link: { delayMs: 75 } },
  { id: "both", name: "150 ms, and 5 % of packets lost,", link: { delayMs: 75, loss: 0.05 } },
  { id: "loss", name: "5 % of packets lost", link: { loss: 0.05 } },
];

const longLinks: readonly Fault[] = qualities.flatMap(({ id, name, link }) =>
  Object.entries(between).map(([end, { name: what, ends }]) => ({
    id: `${id}-${end}`,
    name: `${name} between ${what}`,
    left: "everything",
    needs,
    run: async (site: Site, course: Course) => await linked(site, course, link, ends, 8000),
  })),
);

export const networkFaults: readonly Fault[] = [...partitions, ...longLinks];
