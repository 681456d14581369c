// A real redis-server of the lab's own, with a password, on loopback; nothing of it outlives the lab.
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { Redis } from "ioredis";
import { findPart } from "../parts/find.ts";
import { freePorts, type Nursery, type Part, until } from "./process.ts";

export type RedisServer = {
  readonly url: string;
  readonly port: number;
  readonly passwordFile: string;
  /** The running process; another one after `start`. */
  readonly part: () => Part;
  /** Starts it again after its end, on the dump that lies there. */
  start(): Promise<void>;
  /** A client with the right password; the caller disconnects it. */
  connect(): Redis;
};

const answers = (port: number): Promise<true | undefined> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => socket.write("PING\r\n"));
    socket.once("data", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(undefined));
  });

export const startRedis = async (nursery: Nursery, dir: string): Promise<RedisServer> => {
  const [port = 0] = await freePorts(1);
  const home = join(dir, "redis");
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const password = randomBytes(16).toString("hex");
  const passwordFile = join(home, "password");
  writeFileSync(passwordFile, password, { mode: 0o600 });
  // In a file: a password among the arguments is for everyone to read.
  const config = [`bind 127.0.0.1`, `port ${port}`, `dir ${home}`, `save ""`, `appendonly no`, `requirepass ${password}`, ""].join("\n");
  writeFileSync(join(home, "redis.conf"), config, { mode: 0o600 });
  let part: Part | undefined;
  const start = async (): Promise<Part> => {
    part = nursery.start("redis", [findPart("redis-server"), join(home, "redis.conf")]);
    await until("Redis to answer", part, () => answers(port));
    return part;
  };
  const first = await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    passwordFile,
    part: () => part ?? first,
    async start() {
      await start();
    },
    connect: () => new Redis(port, "127.0.0.1", { password, retryStrategy: () => null }),
  };
};
