// Somebody who can write to Redis: under load and rotations, whatever stands there, no answer is wrong, no
// call fails, and no rotation takes longer than it would without Redis and a second.
// (docs/architecture.md #keys; SECURITY.md.)
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
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
  const each = async (pattern: string, act: (name: string) => Promise<unknown>): Promise<void> => {
    await Promise.all((await names(pattern)).map(act));
  };
  /** The ids that the gateways keep keys under. */
  const ids = async (): Promise<readonly string[]> =>
    (await names("claviger:key:*")).map((name) => name.slice("claviger:key:".length));
  const hold = async (...leases: readonly string[]): Promise<void> => {
    await Promise.all(leases.map((lease) => redis.set(`claviger:claim:${lease}`, "1")));
  };
  const upTo = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => i + 1);

  /** @param act done again and again, while the key is rotated. @param undo puts right what outlives it */
  const attack = (name: string, act: () => Promise<unknown>, undo?: () => Promise<unknown>): void => {
    test(name, async () => {
      load.take();
      let isOver = false;
      const acting = (async () => {
        for (; !isOver; await sleep(40)) await act().catch(() => {});
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
        await undo?.();
        await redis.flushall();
      }
    });
  };

  attack("everything is deleted, again and again", () => redis.flushall());
  attack("leases of promotions are held without an end", async () => {
    for (const id of await ids()) await hold(...upTo(60).map((version) => `promote:${id}:${version}`));
  });
  attack("leases of reads are held", async () => await hold(...(await ids()).map((id) => `read:${id}`)));
  attack("leases of canaries are held", async () => await hold(...(await ids()).map((id) => `canary:${id}`)));
  attack("leases of rotations are held", async () => await hold(...(await ids()).map((id) => `rotate:${id}`)));
  attack("the registry's turn is held", () => hold("registry"));
  attack("reports are forged", () =>
    each("claviger:key:*", async (name) => {
      const [, text = ""] = ((await redis.get(name)) ?? "").split(/\.(.*)/s);
      await redis.set(name, `${randomBytes(32).toString("base64url")}.${text.replaceAll(/\d/g, "9")}`);
    }),
  );
  attack("reports keep their HMAC and say something else", () =>
    each("claviger:key:*", async (name) => {
      const value = (await redis.get(name)) ?? "";
      await redis.set(name, value.replace(/"minEncryption":\d+/, '"minEncryption":1'));
    }),
  );
  const kept = new Map<string, string>();
  attack("reports are replaced by the first that were seen", () =>
    each("claviger:key:*", async (name) => {
      const value = await redis.get(name);
      if (value !== null && !kept.has(name)) kept.set(name, value);
      await redis.set(name, kept.get(name) ?? "");
    }),
  );
  attack("reports change places", async () => {
    const [one = "", two = ""] = await names("claviger:key:*");
    const values = await redis.mget(one, two);
    await Promise.all([redis.set(one, values[1] ?? ""), redis.set(two, values[0] ?? "")]);
  });
  attack("reports are cut short", () =>
    each("claviger:key:*", async (name) => await redis.set(name, ((await redis.get(name)) ?? "").slice(0, 60))),
  );
  attack("reports are of another type", () =>
    each("claviger:key:*", async (name) => {
      await redis.del(name);
      await redis.lpush(name, "x");
    }),
  );
  attack("reports are garbage", () => each("claviger:key:*", (name) => redis.set(name, randomBytes(200))));
  attack("reports are of 64 MiB", () => each("claviger:key:*", (name) => redis.setrange(name, 64 * 2 ** 20, "x")));
  attack("reports end at once", () => each("claviger:key:*", (name) => redis.pexpire(name, 1)));
  attack("all names are others", () => each("claviger:*", (name) => redis.rename(name, `other:${name}`)));
  attack("observations are of another type", () =>
    each("claviger:*", async (name) => {
      if ((await redis.type(name)) !== "hash") return;
      await redis.del(name);
      await redis.set(name, "x");
    }),
  );
  attack("observations are forged by the thousand", () =>
    each("claviger:*", async (name) => {
      if ((await redis.type(name)) === "hash")
        await redis.hset(name, Object.fromEntries(upTo(1000).map((i) => [`reported/n${i}/k`, "x.{}"])));
    }),
  );
  attack("news of every key, without end", async () => {
    for (const id of await ids()) await Promise.all(upTo(50).map(() => redis.publish("claviger:news", id)));
  });
  attack("news of keys that there are not", () =>
    Promise.all(upTo(100).map((i) => redis.publish("claviger:news", `none-${i}`))),
  );
  attack("messages of a mebibyte", () => redis.publish("claviger:news", "x".repeat(2 ** 20)));
  attack("the registry has changed, without end", () =>
    Promise.all(upTo(100).map(() => redis.publish("claviger:registry", "changed"))),
  );
  attack("everybody's connection is ended", () => redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"));
  attack(
    "no memory is left for writes",
    () => redis.config("SET", "maxmemory", "1"),
    () => redis.config("SET", "maxmemory", "0"),
  );
  attack("silence of 200 ms, again and again", () => redis.client("PAUSE", 200, "ALL"));
});
