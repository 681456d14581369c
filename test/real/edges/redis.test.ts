// Redis as one server, beside two gateways: it saves work, so nothing that goes wrong with it may show
// in a call.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { until } from "../../lab/process-group.ts";
import { type RedisServer, startRedis } from "../../lab/redis.ts";
import { type BehindProxy, pass, startBehindProxy, wayIn } from "./behind-proxy.ts";
import { type Cells, describeEdges } from "./suite.ts";

type RedisWorld = BehindProxy & { readonly redis: RedisServer };

async function start(): Promise<RedisWorld> {
  const world = await startBehindProxy((open, { ca }) => ({
    gateways: 2,
    redisSettings: async ({ port }) => ({ node: `127.0.0.1:${(await open(port)).port}`, tls: { ca } }),
  }));
  const { redis } = world.lab;
  assert.ok(redis !== undefined);
  return { ...world, redis };
}

const way = wayIn<RedisWorld>;

const admin = { username: "admin", password: "of the test" };
/** As somebody of whom no fault takes a right. */
async function asAdmin(
  { redis }: RedisWorld,
  ...commands: readonly (readonly [string, ...(string | number)[]])[]
): Promise<void> {
  const password = readFileSync(redis.passwordFile, "utf8");
  const first = new Redis(redis.port, "127.0.0.1", { password, retryStrategy: () => null });
  const client = await first
    .call("ACL", "SETUSER", admin.username, "on", `>${admin.password}`, "~*", "&*", "+@all")
    .then(
      () => new Redis(redis.port, "127.0.0.1", { ...admin, retryStrategy: () => null }),
      // It was made by an earlier fault, and the gateways' user may not do that now.
      () => new Redis(redis.port, "127.0.0.1", { ...admin, retryStrategy: () => null }),
    );
  first.disconnect();
  try {
    for (const [command, ...given] of commands) await client.call(command, ...given);
  } finally {
    client.disconnect();
  }
}
function commands(
  before: readonly (readonly [string, ...(string | number)[]])[],
  after: readonly (readonly [string, ...(string | number)[]])[],
) {
  return {
    cause: (world: RedisWorld) => asAdmin(world, ...before),
    cure: (world: RedisWorld) => asAdmin(world, ...after),
  };
}

async function rotate({ client, lab }: RedisWorld): Promise<void> {
  const { keyId } = await client.status();
  await lab.vault?.call("POST", "transit/keys/cluster-1/rotate");
  await until("the new key_id", undefined, async () => ((await client.status()).keyId === keyId ? undefined : true));
}

const cells: Cells<RedisWorld> = {
  absent: { how: "nothing listens at its address", ...way({ kind: "refuse" }) },
  slow: { how: "an answer takes 400 ms", ...way({ kind: "slow", ms: 400 }) },
  silent: { how: "it takes connections and says nothing", ...way({ kind: "silent" }) },
  closing: { how: "it closes each connection in the middle of an answer", ...way({ kind: "close" }) },
  "refusing everything": {
    how: "its ACL allows the gateways no command",
    ...commands([["ACL", "SETUSER", "default", "nocommands"]], [["ACL", "SETUSER", "default", "allcommands"]]),
  },
  "refusing one operation": {
    how: "its ACL takes `SET` away",
    ...commands([["ACL", "SETUSER", "default", "-set"]], [["ACL", "SETUSER", "default", "+set"]]),
  },
  "answering from an older state": {
    how: "it is restarted on a dump from before a rotation",
    async cause(world) {
      await asAdmin(world, ["SAVE"]);
      await rotate(world);
      const { redis } = world;
      process.kill(redis.proc().pid, "SIGKILL");
      await redis.proc().ended;
      await redis.start();
    },
    cure() {},
  },
  "answering nonsense": { how: "it answers with bytes of no protocol", ...way({ kind: "garbage" }) },
  "answering for somebody else": {
    how: "another Redis, with another password, is at its address",
    async cause({ proxy, others, certificates }) {
      const { port } = await startRedis(others, join(certificates.dir, "other"));
      await proxy.set({ kind: "other", port });
    },
    cure: pass,
  },
  full: {
    how: "its memory is full (`maxmemory`, `noeviction`)",
    ...commands(
      [
        ["CONFIG", "SET", "maxmemory-policy", "noeviction"],
        ["CONFIG", "SET", "maxmemory", 1],
      ],
      [["CONFIG", "SET", "maxmemory", 0]],
    ),
  },
  "read-only": {
    how: "it becomes a replica of a master that is away",
    ...commands([["REPLICAOF", "127.0.0.1", 1]], [["REPLICAOF", "NO", "ONE"]]),
  },
  "credentials changed": {
    how: "its password is changed, and connections are cut",
    cause: (world) =>
      asAdmin(
        world,
        ["CONFIG", "SET", "requirepass", "another"],
        ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"],
        ["CLIENT", "KILL", "TYPE", "pubsub"],
      ),
    cure: ({ redis }) => writeFileSync(redis.passwordFile, "another", { mode: 0o600 }),
    end: "once the new password is in its file",
  },
  "certificate expired or replaced": {
    how: "it shows a certificate of another CA",
    ...way(({ certificates }) => ({ kind: "certificate", pair: certificates.foreign })),
  },
  "clock wrong": {
    unreachable:
      "nothing here sets the clock of a redis-server, and no gateway reads one: lives are relative, and what a report says of its age is by the reader's clock",
  },
};

describeEdges({ dependency: "Redis, standalone", start, cells, sample: ["full"] });
