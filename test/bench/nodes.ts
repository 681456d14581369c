// What it costs to know 30,000 nodes of 10,000 clusters: a gateway's time and memory for each, Redis, and how long
// an operator waits. `node test/bench/nodes.ts [CLUSTERS]`
// The gateway's part runs in this process, against a real Redis; fleet service and command are processes.
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Redis } from "ioredis";
import type { RedisStore } from "@claviger/gateway-core/src/redis/client.ts";
import type { SeenNode } from "@claviger/gateway-core/src/redis/node-reports.ts";
import { Agent, request } from "undici";
import { claviger } from "../real/cli/claviger.ts";
import { createProcessGroup } from "../lab/process-group.ts";
import { usageOf } from "../lab/usage.ts";
import { medianOf } from "./calls.ts";
import { nodesOf, startManyClusters, writeNodes } from "./many.ts";

const rounds = 3;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
function heapBytes(): number {
  collect();
  collect();
  return getHeapStatistics().used_heap_size;
}

async function infoOf(admin: Redis): Promise<(name: string) => number> {
  const text = await admin.info();
  return (name) => Number(new RegExp(`^${name}:([\\d.]+)`, "m").exec(text)?.[1] ?? 0);
}

function print(what: string, value: string): void {
  console.log(`${what.padEnd(62)} ${value}`);
}

/** The gateway's part: everything that it keeps, writes and takes for these nodes. */
async function measureGateway(redis: RedisStore, secret: Uint8Array, admin: Redis, nodes: readonly SeenNode[]) {
  const before = await infoOf(admin);
  const empty = heapBytes();
  const cpu = process.cpuUsage();
  const reports = await writeNodes(redis, secret, nodes);
  const { user, system } = process.cpuUsage(cpu);
  const perNode = (heapBytes() - empty) / nodes.length;
  const after = await infoOf(admin);
  print("a gateway keeps, bytes a node", perNode.toFixed(0));
  print("a gateway's CPU to write each node once, µs a node", ((user + system) / nodes.length).toFixed(0));
  const grown = (name: string): number => after(name) - before(name);
  print("commands of Redis to write each node once", String(grown("total_commands_processed")));
  print(
    "memory of Redis, MiB (bytes a node)",
    `${(grown("used_memory") / 2 ** 20).toFixed(0)} (${(grown("used_memory") / nodes.length).toFixed(0)})`,
  );
  const cpuOf = (name: string): number => after(name) - before(name);
  print("CPU of Redis for it, s", (cpuOf("used_cpu_user") + cpuOf("used_cpu_sys")).toFixed(2));
  const [some] = [nodes.slice(0, 1000)];
  const times: number[] = [];
  for (let round = 0; round < 200; round += 1) {
    const began = performance.now();
    for (const node of some) reports.seen(node);
    times.push(((performance.now() - began) / some.length) * 1000);
  }
  print("a Status of a node that is not written, µs (median)", medianOf(times).toFixed(2));
  reports.close();
}

async function main(clusters: number): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const processes = createProcessGroup(dir);
  try {
    const { fleet, server, redis, secret, close } = await startManyClusters(processes, dir, clusters);
    const admin = server.connect();
    await measureGateway(redis, secret, admin, nodesOf(clusters));
    const options = await fleet.options("vera");
    const run = async (...args: readonly string[]) => {
      const times: number[] = [];
      let out = "";
      const before = await infoOf(admin);
      for (let i = 0; i < rounds; i += 1) {
        const began = performance.now();
        const ran = await claviger([...args, ...options]);
        times.push(performance.now() - began);
        if (ran.status !== 0) throw new Error(`${args.join(" ")}: ${ran.err}`);
        ({ out } = ran);
      }
      const commands =
        ((await infoOf(admin))("total_commands_processed") - before("total_commands_processed")) / rounds;
      const lines = out.split("\n").length;
      const worst = Math.max(...times).toFixed(0);
      print(
        `claviger ${args.join(" ")}, ms (longest of ${rounds}); commands; lines`,
        `${medianOf(times).toFixed(0)} (${worst}); ${commands.toFixed(0)}; ${lines}`,
      );
    };
    const [, url = "", , ca = "", , cert = "", , key = ""] = options;
    const tls = { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };
    const dispatcher = new Agent({ allowH2: false, connect: tls });
    const call = async (method: string, message: object) => {
      const times: number[] = [];
      for (let i = 0; i < rounds; i += 1) {
        const began = performance.now();
        const reply = await request(`${url}/claviger.fleet.v1.FleetService/${method}`, {
          method: "POST",
          dispatcher,
          headers: { "content-type": "application/json" },
          body: JSON.stringify(message),
        });
        await reply.body.dump();
        times.push(performance.now() - began);
        if (reply.statusCode !== 200) throw new Error(`${method}: ${reply.statusCode}`);
      }
      print(`${method}, ms (longest of ${rounds})`, `${medianOf(times).toFixed(0)} (${Math.max(...times).toFixed(0)})`);
    };
    await call("GetFleetStatus", {});
    await call("ListNodes", { pageSize: 1000 });
    await call("ListNodes", { cluster: `cluster-${clusters}` });
    await dispatcher.close();
    await run("--version");
    await run("fleet", "status");
    await run("fleet", "status", "--attention");
    await run("node", "list");
    await run("node", "list", `cluster-${clusters}`);
    await run("node", "show", `cluster-${clusters}/cp-1.cluster-${clusters}.example`);
    print("memory of the fleet service afterwards, MiB", usageOf(fleet.proc.pid).rssMiB.toFixed(0));
    admin.disconnect();
    await close();
  } finally {
    await processes.stopAll();
    await rm(dir, { recursive: true, force: true });
  }
}

await main(Number(process.argv[2] ?? 10_000));
