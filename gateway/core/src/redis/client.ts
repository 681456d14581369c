// The only file that imports ioredis: standalone, Sentinel or Cluster, with or without TLS. Every
// call is short and may fail; nobody depends on one. (docs/architecture.md #keys.)
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { z, zInteger, zPath } from "@claviger/proto/runtime/config.ts";
import { Cluster, Redis } from "ioredis";
import type { Log } from "@claviger/proto/runtime/log.ts";

const node = z.pipe(
  z.string().check(z.regex(/^(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5}$/, { error: "must be HOST:PORT" })),
  z.transform((text: string) => {
    const at = text.lastIndexOf(":");
    return { host: text.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(text.slice(at + 1)) };
  }),
);

const common = {
  /** The ACL user name. */
  username: z.optional(z.string()),
  /** The file of the password. */
  passwordFile: z.optional(zPath),
  /** TLS to every server; without this section connections are in plain text. */
  tls: z.optional(
    z.strictObject({
      /** The CA certificates that Redis is verified against, PEM; Node.js' own when absent. */
      ca: z.optional(zPath),
      /** The name that Redis' certificate must carry, where that is not the host of its address. */
      serverName: z.optional(z.string()),
    }),
  ),
  /** Stands before every key and channel, so that fleets can share a server. */
  prefix: z._default(
    z.string().check(z.regex(/^[A-Za-z0-9_-]{1,32}$/, { error: "must be 1 to 32 letters, digits, '_' and '-'" })),
    "claviger",
  ),
};

export const redisSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    /** One Redis server. */
    kind: z.literal("standalone"),
    /** Its address. */
    node,
    /** The number of the database. */
    database: z._default(zInteger(0, 1023), 0),
    ...common,
  }),
  z.strictObject({
    /** A master that Redis Sentinel names. */
    kind: z.literal("sentinel"),
    /** The addresses of the Sentinels. */
    sentinels: z.array(node).check(z.minLength(1)),
    /** The name of the master. */
    master: z.string(),
    ...common,
  }),
  z.strictObject({
    /** Redis Cluster. */
    kind: z.literal("cluster"),
    /** The addresses of some of its nodes. */
    nodes: z.array(node).check(z.minLength(1)),
    ...common,
  }),
]);

export type RedisConfig = z.infer<typeof redisSchema>;

/**
 * What the gateway asks of Redis. Every method rejects at once while there is no connection, and
 * within 100 ms when there is no answer.
 */
export interface RedisStore {
  get(key: string): Promise<string | null>;
  set(key: string, value: string, milliseconds: number): Promise<void>;
  /** Sets one field of a hash; the whole hash lives on for so long. */
  put(key: string, field: string, value: string, milliseconds: number): Promise<void>;
  /** Every field of a hash. */
  all(key: string): Promise<Readonly<Record<string, string>>>;
  /** Sets the key unless it exists; true when it did not. */
  tryAcquire(key: string, milliseconds: number): Promise<boolean>;
  publish(channel: string, message: string): Promise<void>;
  /**
   * Calls `onMessage` for every message, also after reconnections. Messages are hints: some are
   * missed.
   */
  subscribe(channel: string, onMessage: (message: string) => void): void;
  /**
   * Resolves when there is a connection.
   * @throws Error what is wrong, when the signal ends before
   */
  connected(signal: AbortSignal): Promise<void>;
  /** `ok`, or what is wrong. */
  readonly health: () => string;
  close(): void;
}

export function openRedis(config: RedisConfig, log: Log): RedisStore {
  const password = config.passwordFile === undefined ? undefined : readFileSync(config.passwordFile, "utf8").trim();
  const tls =
    config.tls === undefined
      ? undefined
      : {
          ...(config.tls.ca !== undefined && { ca: readFileSync(config.tls.ca, "utf8") }),
          ...(config.tls.serverName !== undefined && { servername: config.tls.serverName }),
        };
  const options = {
    // A frozen Redis must not hold a request: without commandTimeout every call would hang.
    commandTimeout: 100,
    connectTimeout: 500,
    maxRetriesPerRequest: 1,
    enableOfflineQueue: false,
    autoResubscribe: true,
    retryStrategy: (attempt: number) => Math.min(100 * attempt, 1000),
    ...(config.username !== undefined && { username: config.username }),
    ...(password !== undefined && { password }),
    ...(tls !== undefined && { tls }),
  };
  const connect = (isSubscriber: boolean): Redis | Cluster => {
    const own = isSubscriber
      ? { ...options, enableOfflineQueue: true, maxRetriesPerRequest: null }
      : { ...options, enableAutoPipelining: true };
    switch (config.kind) {
      case "standalone":
        return new Redis({ ...own, ...config.node, db: config.database });
      case "sentinel":
        return new Redis({
          ...own,
          sentinels: [...config.sentinels],
          name: config.master,
          ...(tls !== undefined && { sentinelTLS: tls }),
        });
      case "cluster":
        return new Cluster([...config.nodes], {
          redisOptions: own,
          enableOfflineQueue: isSubscriber,
          clusterRetryStrategy: (attempt) => Math.min(100 * attempt, 1000),
        });
    }
  };
  const commands = connect(false);
  const subscriber = connect(true);
  const listeners = new Map<string, (message: string) => void>();
  let problem: string | undefined = "not connected yet";
  const report = (next: string | undefined): void => {
    if (next !== undefined && problem !== next)
      log.warn({ event: "redis-away", problem: next }, "Redis is away; the gateway goes on without it");
    if (next === undefined && problem !== undefined) log.info({ event: "redis-ready" }, "Redis is there");
    problem = next;
  };
  const codeOf = (error: unknown): string =>
    (error as NodeJS.ErrnoException).code ??
    (error instanceof Error ? (error.message.split(" ")[0] ?? "error") : "error");
  commands.on("ready", () => report(undefined));
  commands.on("error", (error: unknown) => report(codeOf(error)));
  commands.on("close", () => report("connection closed"));
  subscriber.on("error", () => {});
  subscriber.on("message", (channel: string, message: string) => listeners.get(channel)?.(message));

  const name = (key: string): string => `${config.prefix}:${key}`;
  return {
    get: async (key) => await commands.get(name(key)),
    async set(key, value, milliseconds) {
      await commands.set(name(key), value, "PX", milliseconds);
    },
    async put(key, field, value, milliseconds) {
      await Promise.all([commands.hset(name(key), field, value), commands.pexpire(name(key), milliseconds)]);
    },
    all: async (key) => await commands.hgetall(name(key)),
    tryAcquire: async (key, milliseconds) => (await commands.set(name(key), "1", "PX", milliseconds, "NX")) === "OK",
    async publish(channel, message) {
      await commands.publish(name(channel), message);
    },
    subscribe(channel, onMessage) {
      listeners.set(name(channel), onMessage);
      subscriber.subscribe(name(channel)).catch(() => {});
    },
    async connected(signal) {
      if (problem !== undefined)
        await once(commands, "ready", { signal }).catch(() => Promise.reject(new Error(problem)));
    },
    health: () => problem ?? "ok",
    close() {
      for (const client of [commands, subscriber]) {
        // In the middle of a handshake its socket is left alone, and what it still says would end
        // the process.
        if (client instanceof Redis) (client.stream as Redis["stream"] | undefined)?.on("error", () => {});
        client.disconnect();
      }
    },
  };
}
