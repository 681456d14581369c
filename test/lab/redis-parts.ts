// Redis servers of their own form, for Sentinel and Cluster: started, and asked as an administrator.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { findBinary } from "../parts/find.ts";
import { type LabProcess, logOf, type ProcessGroup, until } from "./process-group.ts";
import { loopback, type Place } from "./place.ts";

export const password = "a password of the test";
export const withPassword = [`requirepass "${password}"`, `masterauth "${password}"`];

export type RedisPart = { readonly proc: LabProcess; readonly admin: Redis };

/** @param settings lines of redis.conf; `protected-mode` and a folder are there already */
export async function startPart(
  processes: ProcessGroup,
  dir: string,
  {
    name,
    port,
    settings,
    args = [],
    place = loopback,
  }: { name: string; port: number; settings: readonly string[]; args?: readonly string[]; place?: Place },
): Promise<RedisPart> {
  const home = join(dir, name);
  mkdirSync(home, { recursive: true });
  const config = join(home, "redis.conf");
  const lines = [`bind ${place.host}`, "protected-mode no", `dir ${home}`, `port ${port}`, 'save ""', ...settings, ""];
  writeFileSync(config, lines.join("\n"), { mode: 0o600 });
  const proc = processes.start(name, [...place.enter, findBinary("redis-server"), config, ...args]);
  await until(`${name} to listen`, proc, () =>
    /Ready to accept connections|monitor master|Sentinel ID/.test(logOf(proc)) ? true : undefined,
  );
  const own = settings.some((line) => line.startsWith("requirepass")) ? { password } : {};
  const admin = new Redis(port, place.host, { ...own, retryStrategy: () => null });
  admin.on("error", () => {});
  return { proc, admin };
}
