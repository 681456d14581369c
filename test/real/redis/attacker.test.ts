// Somebody who can write to Redis: under load and rotations, whatever stands there, no answer is wrong, no
// call fails, and no rotation takes longer than it would without Redis and a second.
// (docs/architecture.md #keys; SECURITY.md.)
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { formatTable } from "@claviger/proto/runtime/table.ts";
import type { Redis } from "ioredis";
import { kmsClient, type KmsClient } from "../../lab/kms.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import type { Load } from "../../lab/load.ts";
import { until } from "../../lab/process-group.ts";
import { redisAttacks } from "../../lab/redis-attacks.ts";
import { startShimLoad } from "../../lab/shim-load.ts";

const perSecond = 60;
/** keys.refresh of the lab is 1 s: refresh + 1 s + 1 s, and what a Status may take. */
const promisedMs = 3500;

suite("an attacker in Redis", () => {
  let dir: string;
  let lab: Lab;
  let redis: Redis;
  let clients: readonly KmsClient[];
  let load: Load;
  const rows: string[][] = [];

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    lab = await startLab({ dir, clusters: 2, shims: 2, gateways: 2 });
    assert.ok(lab.redis !== undefined);
    redis = lab.redis.connect();
    redis.on("error", () => {});
    clients = lab.shims.map(({ socket }) => kmsClient(socket));
    load = startShimLoad(clients.slice(0, 1), perSecond);
    await until("something to stand in Redis", undefined, async () =>
      (await names("claviger:key:*")).length >= 2 ? true : undefined,
    );
  });
  after(async () => {
    await load.stop();
    for (const client of clients) client.close();
    redis.disconnect();
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
    console.log(formatTable(["what is done to Redis", "requests", "failed", "rotation shown after"], rows));
  });

  const names = async (pattern: string): Promise<readonly string[]> => await redis.keys(pattern);

  for (const { name, act, undo } of redisAttacks())
    test(name, async () => {
      load.take();
      let isOver = false;
      const acting = (async () => {
        for (; !isOver; await sleep(40)) await act(redis).catch(() => {});
      })();
      try {
        await sleep(300);
        const { keyId } = await (clients[0] as KmsClient).status();
        await lab.vault?.call("POST", "transit/keys/cluster-1/rotate");
        const began = performance.now();
        await until("the new key_id", undefined, async () =>
          (await (clients[0] as KmsClient).status()).keyId === keyId ? undefined : true,
        );
        const took = performance.now() - began;
        // Long enough for what was rotated to be used, and to be attacked as well.
        await sleep(400);
        const tally = load.take();
        const failed = [...tally.failed].map(([reason, count]) => `${count} ${reason}`).join(", ");
        rows.push([name, String(tally.ok), failed || "0", `${Math.round(took)} ms`]);
        assert.deepEqual([...tally.failed], []);
        assert.ok(tally.ok > 0);
        assert.ok(took <= promisedMs, `${Math.round(took)} ms`);
      } finally {
        isOver = true;
        await acting;
        await undo?.(redis);
        await redis.flushall();
      }
    });
});
