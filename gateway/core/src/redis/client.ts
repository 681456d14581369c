// The only file that imports ioredis: standalone, Sentinel or Cluster, with or without TLS. Every
// call is short and may fail; nobody depends on one. (docs/architecture.md #keys.)
import { Cluster, Redis } from "ioredis";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { readFileOf } from "@claviger/proto/runtime/pem-files.ts";
import type { RedisConfig } from "./config.ts";
import { floodBytes, guardAgainstFloods } from "./flood-guard.ts";
import { describeProblem } from "./problem.ts";
import { createRedisReports } from "./reports.ts";

/**
 * What the gateway asks of Redis. Every method rejects at once while there is no connection, and
 * within 100 ms, or what the bounds say, when there is no answer. What is kept for some milliseconds is kept for whole ones.
 */
export interface RedisStore {
  get(key: string): Promise<string | null>;
  set(key: string, value: string, milliseconds: number): Promise<void>;
  /** Sets one field of a hash; the whole hash lives on for so long. */
  put(key: string, field: string, value: string, milliseconds: number): Promise<void>;
  /** The same with several fields, at least one. */
  putAll(key: string, fields: Readonly<Record<string, string>>, milliseconds: number): Promise<void>;
  /** Removes fields of a hash, at least one; those that are not there are none. */
  remove(key: string, fields: readonly string[]): Promise<void>;
  /** Every field of a hash. */
  all(key: string): Promise<Readonly<Record<string, string>>>;
  /** Some fields of a hash, at least one, in this order; null for one that is not there. */
  some(key: string, fields: readonly string[]): Promise<readonly (string | null)[]>;
  /** Sets the key unless it exists; true when it did not. */
  tryAcquire(key: string, milliseconds: number, value?: string): Promise<boolean>;
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

/**
 * What the files that the settings name say. They are read again for each connection: what was replaced
 * is used without a restart.
 * @throws ConfigError with every file that cannot be read or is empty
 */
export function readRedisFiles({ passwordFile, tls, ...rest }: RedisConfig) {
  const problems: string[] = [];
  const read = (file: string | undefined, setting: string): string | undefined => {
    if (file === undefined) return undefined;
    const text = readFileOf(`redis.${setting}`, file, problems);
    if (text?.trim() === "") problems.push(`redis.${setting}: ${file} is empty`);
    return text;
  };
  const sentinelPassword =
    rest.kind === "sentinel" ? read(rest.sentinelPasswordFile, "sentinelPasswordFile")?.trim() : undefined;
  const files = {
    password: read(passwordFile, "passwordFile")?.trim(),
    sentinelPassword,
    tls:
      tls === undefined
        ? undefined
        : {
            allowPartialTrustChain: true,
            ...(tls.ca !== undefined && { ca: read(tls.ca, "tls.ca") }),
            ...(tls.cert !== undefined && { cert: read(tls.cert, "tls.cert") }),
            ...(tls.key !== undefined && { key: read(tls.key, "tls.key") }),
            ...(tls.serverName !== undefined && { servername: tls.serverName }),
          },
  };
  if (problems.length > 0) throw new ConfigError("configuration", problems);
  return files;
}
type Files = ReturnType<typeof readRedisFiles>;

/** What the options of a connection say of the files, by the names of ioredis. */
function optionsOf({ password, sentinelPassword, tls }: Files) {
  return {
    ...(password !== undefined && { password }),
    ...(sentinelPassword !== undefined && { sentinelPassword }),
    // Once it is set, everything is spoken to over TLS: the Sentinels and the master that they name.
    ...(tls !== undefined && { tls, sentinelTLS: tls, enableTLSForSentinelMode: true }),
  };
}

/** The servers that the configuration names: Redis itself, Sentinels, or some of a cluster. */
export function redisNodes(config: RedisConfig): readonly { readonly host: string; readonly port: number }[] {
  switch (config.kind) {
    case "standalone":
      return [config.node];
    case "sentinel":
      return config.sentinels;
    case "cluster":
      return config.nodes;
  }
}

/** Where it is, as messages say it. */
export function redisAddresses(config: RedisConfig): string {
  const text = redisNodes(config)
    .map(({ host, port }) => `${host}:${port}`)
    .join(", ");
  return config.kind === "sentinel" ? `${config.master} of ${text}` : text;
}

/** Does a value of another type stand where it was looked for? */
export function isWrongType(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("WRONGTYPE");
}

/** How long a command may take, and how many bytes may arrive in a second. */
export type RedisBounds = { readonly commandMs: number; readonly bytesPerSecond: number };

const requestBounds: RedisBounds = { commandMs: 100, bytesPerSecond: floodBytes };

/** @throws ConfigError when a file cannot be read */
export function openRedis(config: RedisConfig, log: Log, bounds = requestBounds): RedisStore {
  const options = {
    // A frozen Redis must not hold a request: without commandTimeout every call would hang.
    commandTimeout: bounds.commandMs,
    connectTimeout: 500,
    // Whoever asked has gone on without the answer.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    autoResubscribe: true,
    retryStrategy: (attempt: number) => Math.min(100 * attempt, 1000),
    ...(config.username !== undefined && { username: config.username }),
    ...optionsOf(readRedisFiles(config)),
  };
  const readAgain = (connection: object): void => {
    try {
      Object.assign(connection, optionsOf(readRedisFiles(config)));
    } catch {
      // In the middle of being replaced: the files that were read before.
    }
  };
  const watch = (client: Redis): Redis => {
    const onFlood = (): void => report("far more arrives than was asked for; the connection was ended");
    guardAgainstFloods(client, bounds.bytesPerSecond, onFlood);
    client.on("reconnecting", () => readAgain(client.options));
    return client;
  };
  const connect = (isSubscriber: boolean): Redis | Cluster => {
    const own = isSubscriber
      ? { ...options, enableOfflineQueue: true, maxRetriesPerRequest: null }
      : { ...options, enableAutoPipelining: true };
    switch (config.kind) {
      case "standalone":
        return watch(new Redis({ ...own, ...config.node, db: config.database }));
      case "sentinel":
        return watch(
          new Redis({
            ...own,
            sentinels: [...config.sentinels],
            name: config.master,
            ...(config.sentinelUsername !== undefined && { sentinelUsername: config.sentinelUsername }),
          }),
        );
      case "cluster": {
        const cluster = new Cluster([...config.nodes], {
          redisOptions: own,
          enableOfflineQueue: isSubscriber,
          clusterRetryStrategy(attempt) {
            readAgain(own);
            return Math.min(100 * attempt, 1000);
          },
        });
        return cluster.on("+node", watch);
      }
    }
  };
  const address = redisAddresses(config);
  const listeners = new Map<string, (message: string) => void>();
  const reports = createRedisReports(log, address);
  const report = (next: string | undefined): void => reports.report(next);
  let isRefused = false;
  const fail = (error: unknown): void =>
    report(describeProblem(error) ?? reports.problem() ?? "there is no connection");
  const commands = connect(false);
  const subscriber = connect(true);
  commands.on("ready", () => {
    if (!isRefused) report(undefined);
  });
  commands.on("error", fail);
  // Why is known, where there was an error.
  commands.on("close", () => {
    if (reports.problem() === undefined) report("the connection was closed");
  });
  subscriber.on("error", () => {});
  subscriber.on("message", (channel: string, message: string) => listeners.get(channel)?.(message));

  // A connection alone says little: what a command was told counts.
  const told = async <T>(asked: Promise<T>): Promise<T> => {
    try {
      const reply = await asked;
      isRefused = false;
      report(undefined);
      return reply;
    } catch (error) {
      const isReply = (error as { readonly name?: string }).name === "ReplyError";
      // That says nothing of Redis.
      if (isWrongType(error)) throw error;
      isRefused = isReply;
      fail(error);
      throw error;
    }
  };

  const name = (key: string): string => `${config.prefix}:${key}`;
  /** Redis takes whole milliseconds, and at least one: an interval that grows with the fleet has others. */
  const whole = (milliseconds: number): number => Math.max(1, Math.ceil(milliseconds));
  const putAll: RedisStore["putAll"] = async (key, fields, milliseconds) => {
    await told(Promise.all([commands.hset(name(key), fields), commands.pexpire(name(key), whole(milliseconds))]));
  };
  return {
    get: async (key) => await told(commands.get(name(key))),
    async set(key, value, milliseconds) {
      await told(commands.set(name(key), value, "PX", whole(milliseconds)));
    },
    put: (key, field, value, milliseconds) => putAll(key, { [field]: value }, milliseconds),
    putAll,
    async remove(key, fields) {
      await told(commands.hdel(name(key), ...fields));
    },
    all: async (key) => await told(commands.hgetall(name(key))),
    some: async (key, fields) => await told(commands.hmget(name(key), ...fields)),
    tryAcquire: async (key, milliseconds, value = "1") =>
      (await told(commands.set(name(key), value, "PX", whole(milliseconds), "NX"))) === "OK",
    async publish(channel, message) {
      await told(commands.publish(name(channel), message));
    },
    subscribe(channel, onMessage) {
      listeners.set(name(channel), onMessage);
      subscriber.subscribe(name(channel)).catch(() => {});
    },
    // An error is no end: it is tried again until the signal is over.
    connected: (signal) =>
      new Promise((resolve, reject) => {
        const end = (): void => {
          commands.off("ready", onReady);
          signal.removeEventListener("abort", end);
          reject(new Error(reports.problem() ?? "not connected yet"));
        };
        const onReady = (): void => resolve(signal.removeEventListener("abort", end));
        if (reports.problem() === undefined) return resolve();
        if (signal.aborted) return end();
        commands.once("ready", onReady);
        signal.addEventListener("abort", end, { once: true });
        return undefined;
      }),
    health: () => reports.problem() ?? "ok",
    close() {
      reports.close();
      for (const client of [commands, subscriber]) {
        // In the middle of a handshake its socket is left alone, and what it still says would end
        // the process.
        if (client instanceof Redis) (client.stream as Redis["stream"] | undefined)?.on("error", () => {});
        client.disconnect();
      }
    },
  };
}
