// A real redis-server of the lab's own, with a password, on loopback; it ends with
// the lab.
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { Redis } from "ioredis";
import { findBinary } from "../parts/find.ts";
import { loopback, type Place } from "./place.ts";
import { freePorts, type ProcessGroup, type LabProcess, until } from "./process-group.ts";

export type RedisServer = {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly passwordFile: string;
  /** The running process; another one after `start`. */
  readonly proc: () => LabProcess;
  /** Starts it again after its end, on the dump that lies there. */
  start(): Promise<void>;
  /** A client with the right password; the caller disconnects it. */
  connect(): Redis;
};

function answers(port: number, host: string): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    socket.once("connect", () => socket.write("PING\r\n"));
    socket.once("data", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(undefined));
  });
}

export async function startRedis(
  processes: ProcessGroup,
  dir: string,
  { host, enter }: Place = loopback,
): Promise<RedisServer> {
  const [port = 0] = await freePorts(1);
  const home = join(dir, "redis");
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const password = randomBytes(16).toString("hex");
  const passwordFile = join(home, "password");
  writeFileSync(passwordFile, password, { mode: 0o600 });
  // In a file: a password among the arguments is for everyone to read.
  const config = [
    `bind ${host}`,
    `port ${port}`,
    `dir ${home}`,
    `save ""`,
    `appendonly no`,
    `requirepass ${password}`,
    "",
  ].join("\n");
  writeFileSync(join(home, "redis.conf"), config, { mode: 0o600 });
  let proc: LabProcess | undefined;
  const start = async (): Promise<LabProcess> => {
    proc = processes.start("redis", [...enter, findBinary("redis-server"), join(home, "redis.conf")]);
    await until("Redis to answer", proc, () => answers(port, host));
    return proc;
  };
  const first = await start();
  return {
    url: `redis://${host}:${port}`,
    host,
    port,
    passwordFile,
    proc: () => proc ?? first,
    async start() {
      await start();
    },
    connect: () => new Redis(port, host, { password, retryStrategy: () => null }),
  };
}
