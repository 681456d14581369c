// What Redis holds of the histories of many clusters: the hour that three gateways write, and the months.
// `node test/bench/histories.ts [CLUSTERS]`; needs redis-server (`node test/parts/install.ts`).
import { randomInt } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openRedis } from "@claviger/gateway-core/src/redis/client.ts";
import { redisSchema } from "@claviger/gateway-core/src/redis/config.ts";
import { keptSteps, stepMs, writeHistoryStep } from "@claviger/gateway-core/src/redis/histories.ts";
import { signValue } from "@claviger/gateway-core/src/redis/signed-value.ts";
import { checkConfig } from "@claviger/proto/runtime/config.ts";
import { addHour, hourMs, keptHours } from "../../gateway/fleet/src/histories/months.ts";
import { createProcessGroup } from "../lab/process-group.ts";
import { startRedis } from "../lab/redis.ts";
import { silent } from "../unit/gateway/fakes.ts";

const gateways = 3;
/** Nodes of a cluster; each asks for a Status once a minute. */
const nodes = 3;
const secret = Buffer.alloc(32, 1);

/** The uid of a cluster, as long as real ones are. */
function uidOf(n: number): string {
  return `01M8CZX875MFSC${String(n).padStart(12, "0")}`;
}

async function main(clusters: number): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const processes = createProcessGroup(dir);
  const server = await startRedis(processes, dir);
  const { port, passwordFile } = server;
  const settings = { kind: "standalone", node: `127.0.0.1:${port}`, passwordFile };
  const store = openRedis(checkConfig("the measurement", settings, redisSchema), silent);
  const admin = server.connect();
  const used = async (): Promise<number> => {
    const [, bytes] = /used_memory:(\d+)/.exec(await admin.info("memory")) ?? [];
    return Number(bytes) / 2 ** 20;
  };
  try {
    await store.connected(AbortSignal.timeout(10_000));
    const empty = await used();
    const perStep = Math.round((clusters * nodes * stepMs) / 60_000 / gateways);
    const end = Math.floor(Date.now() / stepMs);
    for (let step = end - keptSteps; step < end; step += 1)
      for (let gateway = 1; gateway <= gateways; gateway += 1) {
        const asked = Array.from({ length: perStep }, () => uidOf(randomInt(clusters)));
        const counts = asked.map((uid) => [uid, { calls: [1, 0, 0], refusals: {} }] as const);
        const clustersAsked = Object.fromEntries(counts) as Record<string, (typeof counts)[number][1]>;
        await writeHistoryStep(store, secret, `gateway-${gateway}:8443`, {
          at: step * stepMs,
          calls: [perStep, 0, 0],
          refusals: {},
          clusters: clustersAsked,
          eventLoop: 0.1,
          connections: 10_000,
        });
      }
    const hour = await used();
    console.log(`the hour of ${gateways} gateways, ${clusters} clusters: ${(hour - empty).toFixed(0)} MiB`);

    // One month as it comes to be, hour by hour; the others are as long.
    let month = "";
    const memory = {
      get: () => Promise.resolve(month === "" ? null : month),
      set: (_: string, value: string) => {
        month = value;
        return Promise.resolve();
      },
    };
    const series = `cluster/${uidOf(0)}` as const;
    const now = Date.now();
    for (let n = keptHours - 1; n > 0; n -= 1) {
      const at = Math.floor(now / hourMs - n) * hourMs;
      const calls = [nodes * 60 - randomInt(3), randomInt(20), randomInt(5)] as const;
      await addHour(memory, secret, series, { at, knownMs: hourMs, gateways, nodes, calls, refusals: {} }, now);
    }
    const name = `month:${series}`;
    for (let n = 0; n < clusters; n += 1)
      await store.set(`month:cluster/${uidOf(n)}`, signValue(secret, name, month), keptHours * hourMs);
    console.log(
      `the months of ${clusters} clusters: ${((await used()) - hour).toFixed(0)} MiB (each ${month.length} bytes)`,
    );
  } finally {
    store.close();
    admin.disconnect();
    await processes.stopAll();
    await rm(dir, { recursive: true, force: true });
  }
}

if (import.meta.main) await main(Number(process.argv[2] ?? 10_000));
