// What somebody can do who may write to Redis: tried by the tests and by the threat model.
import { randomBytes } from "node:crypto";
import type { Redis } from "ioredis";

export type RedisAttack = {
  readonly name: string;
  /** Once; done again and again it lasts. */
  readonly act: (redis: Redis) => Promise<unknown>;
  /** Puts right what outlives it. */
  readonly undo?: (redis: Redis) => Promise<unknown>;
};

function upTo(count: number): readonly number[] {
  return Array.from({ length: count }, (_, i) => i + 1);
}

async function each(redis: Redis, pattern: string, act: (name: string) => Promise<unknown>): Promise<void> {
  await Promise.all((await redis.keys(pattern)).map(act));
}

/** The ids that the gateways keep keys under. */
async function idsOf(redis: Redis): Promise<readonly string[]> {
  return (await redis.keys("claviger:key:*")).map((name) => name.slice("claviger:key:".length));
}

async function hold(redis: Redis, ...leases: readonly string[]): Promise<void> {
  await Promise.all(leases.map((lease) => redis.set(`claviger:claim:${lease}`, "1")));
}

async function holdEach(redis: Redis, what: string): Promise<void> {
  await hold(redis, ...(await idsOf(redis)).map((id) => `${what}:${id}`));
}

const leases: readonly RedisAttack[] = [
  { name: "everything is deleted, again and again", act: (redis) => redis.flushall() },
  {
    name: "leases of promotions are held without an end",
    act: async (redis) => {
      for (const id of await idsOf(redis)) await hold(redis, ...upTo(60).map((version) => `promote:${id}:${version}`));
    },
  },
  { name: "leases of reads are held", act: (redis) => holdEach(redis, "read") },
  { name: "leases of canaries are held", act: (redis) => holdEach(redis, "canary") },
  { name: "leases of rotations are held", act: (redis) => holdEach(redis, "rotate") },
  { name: "the registry's turn is held", act: (redis) => hold(redis, "registry") },
];

/** @param kept the reports to put back: those of names that it lacks are added when they are first seen */
function reports(kept: Map<string, string>): readonly RedisAttack[] {
  return [
    {
      name: "reports are forged",
      act: (redis) =>
        each(redis, "claviger:key:*", async (name) => {
          const [, text = ""] = ((await redis.get(name)) ?? "").split(/\.(.*)/s);
          await redis.set(name, `${randomBytes(32).toString("base64url")}.${text.replaceAll(/\d/g, "9")}`);
        }),
    },
    {
      name: "reports keep their HMAC and say something else",
      act: (redis) =>
        each(redis, "claviger:key:*", async (name) => {
          const value = (await redis.get(name)) ?? "";
          await redis.set(name, value.replace(/"minEncryption":\d+/, '"minEncryption":1'));
        }),
    },
    {
      name: "reports are replaced by the first that were seen",
      act: (redis) =>
        each(redis, "claviger:key:*", async (name) => {
          const value = await redis.get(name);
          if (value !== null && !kept.has(name)) kept.set(name, value);
          await redis.set(name, kept.get(name) ?? "");
        }),
    },
    {
      name: "reports change places",
      act: async (redis) => {
        const [one = "", two = ""] = await redis.keys("claviger:key:*");
        const values = await redis.mget(one, two);
        await Promise.all([redis.set(one, values[1] ?? ""), redis.set(two, values[0] ?? "")]);
      },
    },
    {
      name: "reports are cut short",
      act: (redis) =>
        each(
          redis,
          "claviger:key:*",
          async (name) => await redis.set(name, ((await redis.get(name)) ?? "").slice(0, 60)),
        ),
    },
    {
      name: "reports are of another type",
      act: (redis) =>
        each(redis, "claviger:key:*", async (name) => {
          await redis.del(name);
          await redis.lpush(name, "x");
        }),
    },
    {
      name: "reports are garbage",
      act: (redis) => each(redis, "claviger:key:*", (name) => redis.set(name, randomBytes(200))),
    },
    {
      name: "reports are of 64 MiB",
      act: (redis) => each(redis, "claviger:key:*", (name) => redis.setrange(name, 64 * 2 ** 20, "x")),
    },
    {
      name: "reports end at once",
      act: (redis) => each(redis, "claviger:key:*", (name) => redis.pexpire(name, 1)),
    },
  ];
}

const others: readonly RedisAttack[] = [
  {
    name: "all names are others",
    act: (redis) => each(redis, "claviger:*", (name) => redis.rename(name, `other:${name}`)),
  },
  {
    name: "observations are of another type",
    act: (redis) =>
      each(redis, "claviger:*", async (name) => {
        if ((await redis.type(name)) !== "hash") return;
        await redis.del(name);
        await redis.set(name, "x");
      }),
  },
  {
    name: "observations are forged by the thousand",
    act: (redis) =>
      each(redis, "claviger:*", async (name) => {
        if ((await redis.type(name)) === "hash")
          await redis.hset(name, Object.fromEntries(upTo(1000).map((i) => [`reported/n${i}/k`, "x.{}"])));
      }),
  },
  {
    name: "news of every key, without end",
    act: async (redis) => {
      for (const id of await idsOf(redis)) await Promise.all(upTo(50).map(() => redis.publish("claviger:news", id)));
    },
  },
  {
    name: "news of keys that there are not",
    act: (redis) => Promise.all(upTo(100).map((i) => redis.publish("claviger:news", `none-${i}`))),
  },
  { name: "messages of a mebibyte", act: (redis) => redis.publish("claviger:news", "x".repeat(2 ** 20)) },
  {
    name: "the registry has changed, without end",
    act: (redis) => Promise.all(upTo(100).map(() => redis.publish("claviger:registry", "changed"))),
  },
  {
    name: "everybody's connection is ended",
    act: (redis) => redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
  },
  {
    name: "no memory is left for writes",
    act: (redis) => redis.config("SET", "maxmemory", "1"),
    undo: (redis) => redis.config("SET", "maxmemory", "0"),
  },
  { name: "silence of 200 ms, again and again", act: (redis) => redis.client("PAUSE", 200, "ALL") },
];

/** @param kept reports of earlier, by their names in Redis, to be put back */
export function redisAttacks(kept: ReadonlyMap<string, string> = new Map()): readonly RedisAttack[] {
  return [...leases, ...reports(new Map(kept)), ...others];
}
