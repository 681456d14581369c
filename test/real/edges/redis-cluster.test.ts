// One of two nodes of a Redis Cluster, which holds half of the keys, goes wrong.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type FaultProxy, startFaultProxy } from "../../lab/fault-proxy.ts";
import { createProcessGroup, freePorts, until } from "../../lab/process-group.ts";
import { wayIn } from "./behind-proxy.ts";
import { type KmsWorld, startKmsWorld } from "./kms-world.ts";
import { password, type RedisPart, startPart, withPassword } from "../../lab/redis-parts.ts";
import { type Cells, describeEdges } from "./suite.ts";

type ClusterWorld = KmsWorld & {
  readonly proxy: FaultProxy;
  /** Behind the proxy. */
  readonly node: RedisPart;
};

async function start(): Promise<ClusterWorld> {
  const dir = mkdtempSync(join(tmpdir(), "claviger-edges-"));
  const processes = createProcessGroup(dir);
  const passwordFile = join(dir, "password");
  writeFileSync(passwordFile, password, { mode: 0o600 });
  const [first = 0, second = 0, firstBus = 0, secondBus = 0] = await freePorts(4);
  const proxy = await startFaultProxy({ target: () => first });
  const part = (name: string, port: number, bus: number, more: readonly string[]) =>
    startPart(processes, dir, {
      name,
      port,
      settings: [`cluster-port ${bus}`, "cluster-enabled yes", ...withPassword, ...more],
    });
  const node = await part("cluster-0", first, firstBus, [`cluster-announce-port ${proxy.port}`]);
  const other = await part("cluster-1", second, secondBus, []);
  await node.admin.call("CLUSTER", "ADDSLOTSRANGE", 0, 8191);
  await other.admin.call("CLUSTER", "ADDSLOTSRANGE", 8192, 16_383);
  await node.admin.call("CLUSTER", "MEET", "127.0.0.1", String(second), String(secondBus));
  for (const { admin } of [node, other])
    await until("the cluster to be whole", undefined, async () =>
      String(await admin.call("CLUSTER", "INFO")).includes("cluster_state:ok") ? true : undefined,
    );
  const nodes = [`127.0.0.1:${proxy.port}`, `127.0.0.1:${second}`];
  const world = await startKmsWorld(
    { redis: false, gateways: 2, gatewayExtra: { redis: { kind: "cluster", nodes, passwordFile } } },
    async () => {
      for (const { admin } of [node, other]) admin.disconnect();
      await processes.stopAll();
      await proxy.close();
      rmSync(dir, { recursive: true });
    },
  );
  return { ...world, proxy, node };
}

const way = wayIn<ClusterWorld>;
function asAdmin(before: readonly string[], after: readonly string[]) {
  const call = async ({ node }: ClusterWorld, [command = "", ...given]: readonly string[]): Promise<void> =>
    void (await node.admin.call(command, ...given));
  return {
    cause: (world: ClusterWorld) => call(world, before),
    cure: (world: ClusterWorld) => call(world, after),
  };
}
const asStandalone = "the same as of a server that stands alone: see that section";

const cells: Cells<ClusterWorld> = {
  absent: { how: "nothing listens at the node's address", ...way({ kind: "refuse" }) },
  slow: { how: "an answer of the node takes 400 ms", ...way({ kind: "slow", ms: 400 }) },
  silent: { how: "the node takes connections and says nothing", ...way({ kind: "silent" }) },
  closing: { how: "the node closes each connection in the middle of an answer", ...way({ kind: "close" }) },
  "refusing everything": { unreachable: asStandalone },
  "refusing one operation": {
    how: "the node's ACL takes `SET` away",
    ...asAdmin(["ACL", "SETUSER", "default", "-set"], ["ACL", "SETUSER", "default", "+set"]),
  },
  "answering from an older state": {
    how: "the node does not know that it has its slots: it says that the cluster is down",
    ...asAdmin(["CLUSTER", "DELSLOTSRANGE", "0", "8191"], ["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]),
  },
  "answering nonsense": {
    how: "the node answers with bytes of no protocol",
    ...way({ kind: "garbage" }),
    // The last connection of that time may end after the first good one.
    maybeAtEnd: ["redis-away"],
  },
  "answering for somebody else": { unreachable: asStandalone },
  full: {
    how: "the node's memory is full (`maxmemory`, `noeviction`)",
    ...asAdmin(["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]),
  },
  "read-only": { unreachable: "a node without a master of its own slots does not take part in a cluster" },
  "credentials changed": { unreachable: asStandalone },
  "certificate expired or replaced": { unreachable: asStandalone },
  "clock wrong": { unreachable: asStandalone },
};

describeEdges({ dependency: "Redis Cluster", start, cells, sample: [] });
