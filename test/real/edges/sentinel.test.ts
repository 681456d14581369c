// A Sentinel that names the master: it is asked when a connection was lost, so each fault but the first
// begins with that.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type FaultProxy, startFaultProxy, type Way } from "../../lab/fault-proxy.ts";
import { createProcessGroup, freePorts, until } from "../../lab/process-group.ts";
import { type KmsWorld, startKmsWorld } from "./kms-world.ts";
import { password, type RedisPart, startPart, withPassword } from "../../lab/redis-parts.ts";
import { type Cells, describeEdges } from "./suite.ts";

type SentinelWorld = KmsWorld & {
  readonly proxy: FaultProxy;
  readonly master: RedisPart;
  readonly replica: RedisPart;
  readonly sentinel: RedisPart;
  /** Of master and replica. */
  readonly ports: readonly [number, number];
};

async function start(): Promise<SentinelWorld> {
  const dir = mkdtempSync(join(tmpdir(), "claviger-edges-"));
  const processes = createProcessGroup(dir);
  const passwordFile = join(dir, "password");
  writeFileSync(passwordFile, password, { mode: 0o600 });
  const [masterPort = 0, replicaPort = 0, sentinelPort = 0] = await freePorts(3);
  const part = (name: string, port: number, settings: readonly string[], args: readonly string[] = []) =>
    startPart(processes, dir, { name, port, settings, args });
  const master = await part("master", masterPort, withPassword);
  const replica = await part("replica", replicaPort, [`replicaof 127.0.0.1 ${masterPort}`, ...withPassword]);
  await until("the replica to follow", undefined, async () =>
    (await replica.admin.info("replication")).includes("master_link_status:up") ? true : undefined,
  );
  const monitor = [`sentinel monitor fleet 127.0.0.1 ${masterPort} 1`, `sentinel auth-pass fleet "${password}"`];
  const sentinel = await part("sentinel", sentinelPort, monitor, ["--sentinel"]);
  const proxy = await startFaultProxy({ target: () => sentinelPort });
  const world = await startKmsWorld(
    {
      redis: false,
      gatewayExtra: {
        redis: { kind: "sentinel", sentinels: [`127.0.0.1:${proxy.port}`], master: "fleet", passwordFile },
      },
    },
    async () => {
      for (const { admin } of [master, replica, sentinel]) admin.disconnect();
      await processes.stopAll();
      await proxy.close();
      rmSync(dir, { recursive: true });
    },
  );
  return { ...world, proxy, master, replica, sentinel, ports: [masterPort, replicaPort] };
}

/** The gateways' connections to the master end. */
async function cut({ master }: SentinelWorld): Promise<void> {
  for (const type of ["normal", "pubsub"]) await master.admin.call("CLIENT", "KILL", "TYPE", type, "SKIPME", "yes");
}
function way(how: Way) {
  return {
    async cause(world: SentinelWorld) {
      await world.proxy.set(how);
      await cut(world);
    },
    cure: ({ proxy }: SentinelWorld) => proxy.set({ kind: "pass" }),
  };
}
async function monitor({ sentinel }: SentinelWorld, port: number): Promise<void> {
  await sentinel.admin.call("SENTINEL", "REMOVE", "fleet").catch(() => {});
  await sentinel.admin.call("SENTINEL", "MONITOR", "fleet", "127.0.0.1", String(port), "1");
  await sentinel.admin.call("SENTINEL", "SET", "fleet", "auth-pass", password);
}
const ofMaster = "a matter of the server that it names: see the section of Redis, standalone";

const cells: Cells<SentinelWorld> = {
  absent: { how: "nothing listens at the Sentinel's address", ...way({ kind: "refuse" }) },
  slow: { how: "an answer of the Sentinel takes 400 ms", ...way({ kind: "slow", ms: 400 }) },
  silent: { how: "the Sentinel takes connections and says nothing", ...way({ kind: "silent" }) },
  closing: { how: "the Sentinel closes each connection in the middle of an answer", ...way({ kind: "close" }) },
  "refusing everything": {
    how: "the Sentinel wants a password that it is not given",
    async cause(world) {
      await world.sentinel.admin.call("ACL", "SETUSER", "default", "resetpass", ">another");
      world.proxy.cut();
      await cut(world);
    },
    cure: async ({ sentinel }) => void (await sentinel.admin.call("ACL", "SETUSER", "default", "nopass")),
    end: "once it is given",
  },
  "refusing one operation": { unreachable: "naming the master is all that is asked of it" },
  "answering from an older state": {
    how: "the Sentinel names a server that is a replica now",
    async cause(world) {
      await monitor(world, world.ports[1]);
      await cut(world);
    },
    async cure(world) {
      await monitor(world, world.ports[0]);
      for (const type of ["normal", "pubsub"])
        await world.replica.admin.call("CLIENT", "KILL", "TYPE", type, "SKIPME", "yes");
    },
  },
  "answering nonsense": { how: "the Sentinel answers with bytes of no protocol", ...way({ kind: "garbage" }) },
  "answering for somebody else": {
    how: "the Sentinel is another fleet's, and knows no master of the name",
    async cause(world) {
      await world.sentinel.admin.call("SENTINEL", "REMOVE", "fleet");
      await cut(world);
    },
    cure: (world) => monitor(world, world.ports[0]),
  },
  full: { unreachable: ofMaster },
  "read-only": { unreachable: ofMaster },
  "credentials changed": {
    unreachable: "as in the row of refusing everything: a Sentinel's password is a setting of its own",
  },
  "certificate expired or replaced": {
    unreachable:
      "the settings of `redis.tls` are for Sentinels and servers alike: see the section of Redis, standalone, and test/real/redis/modes.test.ts",
  },
  "clock wrong": { unreachable: "nothing here sets the clock of a redis-server, and no gateway reads one" },
};

describeEdges({ dependency: "Redis behind Sentinel", start, cells, sample: [] });
