// What --check tries of Redis: everything that a gateway asks of it, under names of its own that live
// for a second. (docs/architecture.md #keys.)
import { randomUUID } from "node:crypto";
import { type Check, CheckError } from "@claviger/proto/runtime/check.ts";
import { type Peer, withPeerExpiry } from "@claviger/proto/runtime/check-peer.ts";
import { silentLog } from "@claviger/proto/runtime/log.ts";
import { openRedis, redisAddresses, redisNodes, type RedisStore } from "./client.ts";
import type { RedisConfig } from "./config.ts";
import { cureOfProblem } from "./problem.ts";

/** What is written stays for so long, milliseconds. */
const lifeMs = 1000;
/** A connection is tried again meanwhile; what was wrong with the last try is known by then. */
const connectMs = 4000;
/** A busy machine takes longer than a gateway waits for a command; a Redis that refuses it does so each time. */
const tries = 3;

function describe(config: RedisConfig): string {
  const { username, tls } = config;
  const who = username === undefined ? "" : ` as ${username}`;
  return `connected to ${redisAddresses(config)}${who}${tls === undefined ? ", in the clear" : " over TLS"}`;
}

/** The servers that the configuration names. */
function peersOf(config: RedisConfig): readonly Peer[] {
  const { tls } = config;
  return tls === undefined ? [] : redisNodes(config).map((node) => ({ ...node, serverName: tls.serverName }));
}

async function succeeds(run: () => Promise<unknown>): Promise<boolean> {
  for (let left = tries; left > 0; left--)
    if (
      await run().then(
        () => true,
        () => false,
      )
    )
      return true;
  return false;
}

/** One command of each kind that a gateway sends. @throws CheckError with the first that is refused */
async function tryCommands(redis: RedisStore): Promise<void> {
  const name = `check:${randomUUID()}`;
  const kinds: readonly (readonly [string, () => Promise<unknown>])[] = [
    ["SET", () => redis.set(name, "1", lifeMs)],
    ["GET", () => redis.get(name)],
    ["SET NX", () => redis.tryAcquire(`${name}:lease`, lifeMs)],
    ["HSET and PEXPIRE", () => redis.put(`${name}:hash`, "field", "1", lifeMs)],
    ["HGETALL", () => redis.all(`${name}:hash`)],
    ["HMGET", () => redis.some(`${name}:hash`, ["field"])],
    ["HDEL", () => redis.remove(`${name}:hash`, ["field"])],
    ["PUBLISH", () => redis.publish(name, "1")],
  ];
  for (const [command, run] of kinds)
    if (!(await succeeds(run))) throw new CheckError(`${command}: ${redis.health()}`, cureOfProblem(redis.health()));
}

async function connect(redis: RedisStore, address: string): Promise<void> {
  try {
    await redis.connected(AbortSignal.timeout(connectMs));
  } catch (error) {
    throw new CheckError(
      `${address}: ${(error as Error).message}`,
      "gateways serve without it, each for itself; correct redis, or leave it out",
    );
  }
}

/** Adds the rows of Redis. */
export async function checkRedis(check: Check, config: RedisConfig): Promise<void> {
  let redis: RedisStore | undefined;
  try {
    const connected = await check.step("redis", async (signal) => {
      redis = openRedis(config, silentLog);
      await connect(redis, redisAddresses(config));
      return await withPeerExpiry({ found: describe(config), value: redis }, peersOf(config), signal);
    });
    if (connected === undefined) return;
    await check.step("redis rights", async () => {
      await tryCommands(connected);
      return { found: `reads, writes and publishes under ${config.prefix}:`, value: true };
    });
  } finally {
    redis?.close();
  }
}
