// What each gateway says of itself, for whoever looks after the fleet: one hash in Redis, a field for each
// gateway. (docs/architecture.md #fleet-view.)
import { type Clock, systemClock } from "@claviger/proto/runtime/clock.ts";
import type { LoginEnd } from "../backend/port.ts";
import type { RedisStore } from "./client.ts";
import { signValue, verifyValue } from "./signed-value.ts";

/** A backend as one gateway finds it. */
export type BackendReport = {
  readonly name: string;
  readonly addresses: readonly { readonly address: string; readonly isUp: boolean }[];
  /** Absent where the login does not end, or there is none. */
  readonly login?: LoginEnd;
};

/** A key version that did not work when a gateway tried it last. */
export type KeyFailure = {
  /** See refId. */
  readonly key: string;
  readonly version: number;
  /** What failed. `promote`: it was to encrypt, and could not be made to. */
  readonly what: "encrypt" | "decrypt" | "promote";
};

/** What a gateway says at intervals. */
export type GatewayState = {
  readonly version: string;
  /** Unix milliseconds. */
  readonly startedAt: number;
  /**
   * Share of some ten seconds in which its event loop worked: 0 to 1, and a gateway is one core. Absent in
   * the first reports.
   */
  readonly eventLoop?: number;
  readonly connections: number;
  /** Of the registry that it has in force. */
  readonly registryVersion?: string;
  readonly backends: readonly BackendReport[];
  /** The certificates that it uses; `until` is Unix milliseconds. */
  readonly certificates: readonly { readonly role: string; readonly until?: number; readonly problem?: string }[];
  /** The checks of its /readyz that are not ok, by name. */
  readonly problems: Readonly<Record<string, string>>;
  /** Absent in reports of 0.1.0. */
  readonly keyFailures?: readonly KeyFailure[];
};

export type GatewayReport = GatewayState & {
  /** HOST:PORT of its listener, by its own host name. */
  readonly name: string;
  /** Unix milliseconds, by the gateway's clock. */
  readonly at: number;
};

const hash = "gateways";
const sinceKey = "nodes-since";
/** So often that one that was killed, and a Vault that is away, are told within seconds. */
const everyMs = 1000;
const firstMs = 500;
/** Entries of others are looked at so often. */
const pruneMs = 10_000;
/** A gateway that stops takes its entry away; one that was killed is shown for so long. */
const keepMs = 15 * 60_000;
const sinceKeepMs = 400 * 24 * 3600_000;

export type GatewayReporter = {
  /** Takes the entry away. Resolves soon, whatever becomes of it. */
  close(): Promise<void>;
};

/**
 * Reports now, and at intervals.
 * @param secret as for the shared key cache; while it is not known nothing is written
 * @param name of this gateway
 * @param now Unix milliseconds
 */
export function reportGateway({
  redis,
  secret,
  name,
  read,
  now = Date.now,
  clock = systemClock,
}: {
  readonly redis: Pick<RedisStore, "put" | "remove" | "all" | "tryAcquire">;
  readonly secret: () => Uint8Array | undefined;
  readonly name: string;
  readonly read: () => GatewayState;
  readonly now?: () => number;
  readonly clock?: Clock;
}): GatewayReporter {
  let timer: NodeJS.Timeout | undefined;
  let isWriting = false;
  let prunedAt = Number.NEGATIVE_INFINITY;

  const prune = async (key: Uint8Array): Promise<void> => {
    const left = (await readGatewayReports(redis, key)).filter(({ at }) => at < now() - keepMs);
    if (left.length > 0)
      await redis.remove(
        hash,
        left.map((one) => one.name),
      );
  };
  const write = async (key: Uint8Array): Promise<void> => {
    const text = JSON.stringify({ ...read(), at: now() });
    await redis.put(hash, name, signValue(key, `${hash}/${name}`, text), keepMs);
    // Since when Redis holds what gateways write: one that was emptied knows less than it seems to.
    await redis.tryAcquire(sinceKey, sinceKeepMs, signValue(key, sinceKey, String(now())));
    if (now() - prunedAt < pruneMs) return;
    prunedAt = now();
    await prune(key);
  };
  const round = (): void => {
    const key = secret();
    if (key !== undefined && !isWriting) {
      isWriting = true;
      // While there is no Redis there is nobody who reads it.
      void write(key)
        .catch(() => {})
        .finally(() => {
          isWriting = false;
        });
    }
    // The first words come soon after the integrity key.
    timer = clock.setTimeout(round, key === undefined ? firstMs : everyMs);
    timer.unref();
  };
  round();
  return {
    async close() {
      if (timer !== undefined) clock.clearTimeout(timer);
      await redis.remove(hash, [name]).catch(() => {});
    },
  };
}

/**
 * Every gateway that has said something lately. Forged entries are left out.
 * @throws Error when Redis does not answer
 */
export async function readGatewayReports(
  redis: Pick<RedisStore, "all">,
  secret: Uint8Array,
): Promise<readonly GatewayReport[]> {
  return Object.entries(await redis.all(hash)).flatMap(([name, value]) => {
    const text = verifyValue(secret, `${hash}/${name}`, value);
    return text === undefined ? [] : [{ ...(JSON.parse(text) as Omit<GatewayReport, "name">), name }];
  });
}

/**
 * Since when Redis has held what gateways write, Unix milliseconds; undefined where it holds nothing.
 * @throws Error when Redis does not answer
 */
export async function readReportsSince(
  redis: Pick<RedisStore, "get">,
  secret: Uint8Array,
): Promise<number | undefined> {
  const value = await redis.get(sinceKey);
  const text = value === null ? undefined : verifyValue(secret, sinceKey, value);
  return text === undefined ? undefined : Number(text);
}
