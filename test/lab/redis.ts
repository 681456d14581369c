// A real redis-server of the lab's own, with a password, on loopback; nothing of it outlives the lab.
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { findPart } from "../parts/find.ts";
import { freePorts, type Nursery, type Part, until } from "./process.ts";

export type RedisServer = { readonly url: string; readonly port: number; readonly passwordFile: string; readonly part: Part };

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
  const part = nursery.start("redis", [findPart("redis-server"), join(home, "redis.conf")]);
  await until("Redis to answer", part, () => answers(port));
  return { url: `redis://127.0.0.1:${port}`, port, passwordFile, part };
};
