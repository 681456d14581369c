// A dump of Redis, and write access to it.
import { join } from "node:path";
import type { Redis } from "ioredis";
import { kmsClient } from "../../lab/kms.ts";
import { redisAttacks } from "../../lab/redis-attacks.ts";
import { decodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import { searchFor } from "../evidence.ts";
import { filesOf } from "../search.ts";
import { type Spoils, within } from "../spoils.ts";
import { doesNotGet, gets, type Standing, tried, untested } from "../standing.ts";
import { operator, type Outcome } from "../tries.ts";
import type { World } from "../world.ts";

export async function redisDump(world: World, spoils: Spoils): Promise<Standing> {
  const { redis, dir, control, ours, others } = world;
  const client = redis.connect();
  try {
    // Compressed strings would hide what is looked for.
    await client.config("SET", "rdbcompression", "no");
    await client.save();
  } finally {
    client.disconnect();
  }
  const open = [
    { what: "the path of the Transit key", bytes: Buffer.from("transit/shared") },
    { what: "the key_id that a node was shown", bytes: Buffer.from(spoils.keyId) },
    { what: "the node's name", bytes: Buffer.from("node-1") },
  ];
  const closed = [
    ...spoils.transitKeys,
    ...spoils.credentials,
    { what: "a seed", bytes: ours.seed },
    { what: "another seed", bytes: others.seed },
    { what: "a Secret", bytes: ours.value },
    { what: "an encrypted seed", bytes: wrapOf(ours.object.encryptedDekSource) },
  ];
  const place = filesOf("the dump that Redis writes", [join(dir, "redis", "dump.rdb")], control, join(dir, "logs"));
  const found = searchFor(place, [...open, ...closed], control);
  return {
    holds: "a dump of Redis",
    shown: [...gets(...found.slice(0, open.length)), ...doesNotGet(...found.slice(open.length))],
  };
}

function wrapOf(envelope: Uint8Array): Uint8Array {
  const [wrap] = decodeEnvelope(envelope).wraps;
  if (wrap === undefined) throw new Error("an envelope without a wrap");
  return wrap.ciphertext;
}

/** Each attack some times in a row. @param look after each @returns what it saw that must not be */
async function attackAll(redis: Redis, spoils: Spoils, look: () => Promise<boolean>): Promise<readonly string[]> {
  const succeeded: string[] = [];
  for (const { name, act, undo } of redisAttacks(spoils.earlierReports)) {
    for (let i = 0; i < 3; i++) {
      await act(redis).catch(() => {});
      if (await look()) succeeded.push(name);
    }
    await undo?.(redis);
  }
  return succeeded;
}

function outcomeOf(succeeded: readonly string[], otherwise: string): Outcome {
  if (succeeded.length === 0) return { result: otherwise, succeeded: false };
  return { result: `it worked: ${[...new Set(succeeded)].join("; ")}`, succeeded: true };
}

export async function redisWriter(world: World, spoils: Spoils): Promise<Standing> {
  const { shim } = world;
  const kms = kmsClient(shim.socket);
  const redis = world.redis.connect();
  redis.on("error", () => {});
  const count = redisAttacks().length;
  const isServed = async (): Promise<boolean> =>
    await kms.status().then(
      () => true,
      () => false,
    );
  try {
    const rolledBack = await tried(
      `after a rotation, ${count} attacks (test/lab/redis-attacks.ts), the reports of before the rotation put back among them: Status is asked after each`,
      async () =>
        outcomeOf(
          await attackAll(redis, spoils, async () => (await kms.status()).keyId !== spoils.keyId),
          "always the new key_id",
        ),
    );
    await operator(world, "cluster", "suspend", "cluster-1");
    if (!(await within(2000, async () => !(await isServed())))) throw new Error("a suspension has no effect");
    const lifted = await tried("the same attacks while the cluster is suspended", async () =>
      outcomeOf(await attackAll(redis, spoils, isServed), "always refused"),
    );
    await redis.flushall();
    await operator(world, "cluster", "resume", "cluster-1");
    if (!(await within(5000, isServed))) throw new Error("not served after a resume");
    return {
      holds: "write access to Redis",
      shown: [
        ...untested(
          "gets",
          "a slower fleet, a retirement that must wait",
          "`npm test -- redis/attacker retire` is about both, with the times that they need",
        ),
        ...doesNotGet(rolledBack, lifted),
      ],
    };
  } finally {
    kms.close();
    redis.disconnect();
  }
}
