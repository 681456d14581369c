// The last 31 days in hours, of the fleet, of each gateway and of each cluster: a value in Redis for each of
// them, to which this service adds an hour when it is over. (docs/architecture.md #histories.)
import { promisify } from "node:util";
import { deflateRaw, inflateRaw } from "node:zlib";
import type { RedisStore } from "@claviger/gateway-core/src/redis/client.ts";
import { signValue, verifyValue } from "@claviger/gateway-core/src/redis/signed-value.ts";
import type { Point } from "./point.ts";

export const hourMs = 3_600_000;
export const keptHours = 31 * 24;

/** `fleet`, `gateway/NAME` or `cluster/UID`. */
export type SeriesName = "fleet" | `gateway/${string}` | `cluster/${string}`;

const keepMs = keptHours * hourMs;
/** More than a month of anything. */
const maxBytes = 4 * 2 ** 20;

const [pack, unpack] = [promisify(deflateRaw), promisify(inflateRaw)];

function nameOf(series: SeriesName): string {
  return `month:${series}`;
}

type MonthStore = Pick<RedisStore, "get" | "set">;

/**
 * Oldest first.
 * @throws Error when Redis does not answer
 */
export async function readMonth(
  redis: MonthStore,
  secret: Uint8Array,
  series: SeriesName,
  now: number,
): Promise<readonly Point[]> {
  const value = await redis.get(nameOf(series));
  const text = value === null ? undefined : verifyValue(secret, nameOf(series), value);
  if (text === undefined) return [];
  const bytes = await unpack(Buffer.from(text, "base64"), { maxOutputLength: maxBytes });
  return (JSON.parse(bytes.toString()) as readonly Point[]).filter(({ at }) => at > now - keepMs);
}

/**
 * Adds an hour, or puts it in the place of what was said of it before.
 * @throws Error when Redis does not answer
 */
export async function addHour(
  redis: MonthStore,
  secret: Uint8Array,
  series: SeriesName,
  hour: Point,
  now: number,
): Promise<void> {
  const rest = (await readMonth(redis, secret, series, now)).filter(({ at }) => at !== hour.at);
  const bytes = await pack(JSON.stringify([...rest, hour].toSorted((a, b) => a.at - b.at)));
  await redis.set(nameOf(series), signValue(secret, nameOf(series), bytes.toString("base64")), keepMs);
}
