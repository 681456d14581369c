// Faults of Redis, and what callers of two shims on two gateways see of it while the key is
// rotated: slower, never wrong, never refused. (docs/architecture.md #keys.)
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import { formatTable } from "@claviger/proto/runtime/table.ts";
import { kmsClient, type KmsClient } from "../../lab/kms.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { failuresOf, type Load } from "../../lab/load.ts";
import type { RedisServer } from "../../lab/redis.ts";
import { longestDifference, shownBy, startShimLoad, watchKeyIds } from "../../lab/shim-load.ts";
import { freeze } from "../../lab/freeze.ts";

const perSecond = 100;
const isFull = process.env["CLAVIGER_TEST_FULL"] === "1";
const faultMs = isFull ? 20_000 : 4000;
/** keys.refresh of the lab and a second; and what a Status through a shim may take meanwhile. */
const propagationMs = 2500;

suite(`faults of Redis under ${perSecond} requests a second and a rotation`, () => {
  let dir: string;
  let lab: Lab;
  let redis: RedisServer;
  let clients: readonly KmsClient[];
  let load: Load;
  const head = ["fault", "requests", "failed", "wrong", "slowest agreement on a key_id"];
  const rows: string[][] = [];

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    lab = await startLab({ dir, shims: 2, gateways: 2 });
    assert.ok(lab.redis !== undefined);
    redis = lab.redis;
    clients = lab.shims.map(({ socket }) => kmsClient(socket));
    load = startShimLoad(clients, perSecond);
  });
  after(async () => {
    await load.stop();
    for (const client of clients) client.close();
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
    console.log(formatTable(head, rows));
  });

  const withRedis = async <T>(use: (client: Redis) => Promise<T>): Promise<T> => {
    const client = redis.connect();
    try {
      return await use(client);
    } finally {
      client.disconnect();
    }
  };
  let rotations = 0;
  const rotate = async (): Promise<void> => {
    rotations += 1;
    await lab.vault?.call("POST", "transit/keys/cluster-1/rotate");
  };

  /**
   * @param begin what happens; resolves with how it is put right. Is given a way to wait until both
   * shims show a key_id that they have not agreed on before.
   */
  const fault = (name: string, begin: (agreed: () => Promise<void>) => Promise<() => Promise<void>>): void => {
    test(name, async () => {
      load.take();
      rotations = 0;
      const watch = watchKeyIds(clients);
      let shown = await watch.agreed();
      const agreed = async (): Promise<void> => {
        shown = await watch.agreed(shown);
      };
      const end = await begin(agreed);
      await rotate();
      await agreed();
      await sleep(faultMs);
      await end();
      await rotate();
      await agreed();
      await sleep(500);
      const history = await watch.stop();
      const tally = load.take();
      const wrong = tally.failed.get("wrong answer") ?? 0;
      const difference = longestDifference(history);
      rows.push([
        name,
        String(tally.ok + failuresOf(tally)),
        String(failuresOf(tally) - wrong),
        String(wrong),
        `${difference} ms`,
      ]);
      assert.deepEqual([...tally.failed], []);
      assert.ok(tally.ok > (faultMs / 1000) * perSecond * 0.8, `${tally.ok} requests`);
      for (const i of clients.keys())
        assert.equal(
          shownBy(history, i).length,
          1 + rotations,
          `${name}: each rotation shows once on shim ${i}, and no key_id comes back`,
        );
      assert.ok(difference <= propagationMs, `${difference} ms`);
    });
  };

  fault("none", () => Promise.resolve(() => Promise.resolve()));

  fault("down, then started empty", async () => {
    await lab.processes.stop(redis.proc());
    return async () => await redis.start();
  });

  fault("frozen (SIGSTOP)", () => {
    const { pid } = redis.proc();
    freeze(pid);
    return Promise.resolve(() => {
      process.kill(pid, "SIGCONT");
      return Promise.resolve();
    });
  });

  fault("flushed", async () => {
    await withRedis((client) => client.flushall());
    return async () => {
      await withRedis((client) => client.flushall());
    };
  });

  fault("an older dump restored", async (agreed) => {
    await withRedis((client) => client.save());
    await rotate();
    await agreed();
    process.kill(redis.proc().pid, "SIGKILL");
    await redis.proc().ended;
    await redis.start();
    return () => Promise.resolve();
  });

  fault("a wrong password", async () => {
    const setPassword = (client: Redis, password: string): Promise<unknown> =>
      client.config("SET", "requirepass", password);
    const inside = redis.connect();
    const right = inside.options.password ?? "";
    await setPassword(inside, "another");
    await inside.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    await inside.call("CLIENT", "KILL", "TYPE", "pubsub");
    return async () => {
      await setPassword(inside, right);
      inside.disconnect();
    };
  });

  fault("slow: 250 ms of silence in every 300", async () => {
    const inside = redis.connect();
    let isOver = false;
    const pausing = (async () => {
      for (; !isOver; await sleep(300)) await inside.client("PAUSE", 250, "ALL");
    })();
    return async () => {
      isOver = true;
      await pausing;
      inside.disconnect();
    };
  });
});
