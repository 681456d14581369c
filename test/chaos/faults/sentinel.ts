// Redis behind Sentinel: the master is killed, and the replica takes over.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts, until } from "../../lab/process-group.ts";
import { password, startPart, withPassword } from "../../lab/redis-parts.ts";
import type { Fault } from "../fault.ts";
import { complaining, reconfigured } from "../gateways.ts";
import type { Site } from "../site.ts";

/** A master, a replica and a Sentinel, and what gateways' settings say of them. */
async function startSentinel({ processes, dir, network }: Site) {
  const place = network.place("redis");
  const passwordFile = join(dir, "sentinel.password");
  writeFileSync(passwordFile, password, { mode: 0o600 });
  const [masterPort = 0, replicaPort = 0, sentinelPort = 0] = await freePorts(3);
  const part = (name: string, port: number, settings: readonly string[], args: readonly string[] = []) =>
    startPart(processes, dir, { name, port, settings, args, place });
  const master = await part("redis-master", masterPort, withPassword);
  const replica = await part("redis-replica", replicaPort, [`replicaof ${place.host} ${masterPort}`, ...withPassword]);
  await until("the replica to follow", undefined, async () =>
    (await replica.admin.info("replication")).includes("master_link_status:up") ? true : undefined,
  );
  const sentinel = await part(
    "redis-sentinel",
    sentinelPort,
    [
      `sentinel monitor fleet ${place.host} ${masterPort} 1`,
      `sentinel auth-pass fleet "${password}"`,
      "sentinel down-after-milliseconds fleet 1000",
      "sentinel failover-timeout fleet 5000",
    ],
    ["--sentinel"],
  );
  await until("the Sentinel to know the replica", undefined, async () =>
    JSON.stringify(await sentinel.admin.call("SENTINEL", "REPLICAS", "fleet")).includes(String(replicaPort))
      ? true
      : undefined,
  );
  return {
    settings: {
      redis: { kind: "sentinel", sentinels: [`${place.host}:${sentinelPort}`], master: "fleet", passwordFile },
    },
    master,
    /** Whether the Sentinel names the replica now. */
    isFailedOver: async () =>
      JSON.stringify(await sentinel.admin.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "fleet")).includes(
        String(replicaPort),
      ),
    async stop() {
      for (const { proc, admin } of [sentinel, replica, master]) {
        admin.disconnect();
        await processes.stop(proc);
      }
    },
  };
}

export const sentinelFaults: readonly Fault[] = [
  {
    id: "redis-failover",
    name: "kill -9 of Redis' master, behind Sentinel",
    left: "a replica",
    async run(site, { hold, over }) {
      const redis = await startSentinel(site);
      for (const gateway of site.gateways) await reconfigured(site, gateway, redis.settings);
      process.kill(redis.master.proc.pid, "SIGKILL");
      await Promise.all(site.gateways.map((gateway) => complaining(gateway, "redis")));
      await hold();
      await until("the replica to be the master", undefined, async () =>
        (await redis.isFailedOver()) ? true : undefined,
      );
      over();
      for (const gateway of site.gateways) await reconfigured(site, gateway);
      await redis.stop();
    },
  },
];
