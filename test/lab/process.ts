// Child processes of the lab: started in a group of their own, their output in a file, stopped for certain. A watchdog outlives us and ends them when we cannot.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A running part. `argv` starts it again, in the same environment. */
export type Part = {
  readonly name: string;
  readonly argv: readonly string[];
  readonly log: string;
  readonly pid: number;
  readonly child: ChildProcess;
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
};

/** Starts processes and ends all of them; `stop` in the reverse order of `start`. */
export type Nursery = {
  start(name: string, argv: readonly string[], env?: NodeJS.ProcessEnv): Part;
  /** Ends one: SIGTERM, then SIGKILL after `graceMs`. */
  stop(part: Part, graceMs?: number): Promise<void>;
  stopAll(): Promise<void>;
};

/** The last lines of a part's log, for error messages. */
export const tailOf = (part: Part, lines = 15): string => readFileSync(part.log, "utf8").trimEnd().split("\n").slice(-lines).join("\n");

/** Waits until `probe` gives something, asking often. @throws Error with the part's last words when it ends first or time is over */
export const until = async <T>(
  what: string,
  part: Part | undefined,
  probe: () => T | undefined | Promise<T | undefined>,
  ms = 30_000,
): Promise<T> => {
  const end = Date.now() + ms;
  for (;;) {
    const found = await probe();
    if (found !== undefined) return found;
    const hasEnded = part !== undefined && part.child.exitCode !== null;
    if (hasEnded || Date.now() > end)
      throw new Error(
        `${what}: ${hasEnded ? `${part.name} ended` : `not within ${ms / 1000} s`}${part === undefined ? "" : `; its last words:\n${tailOf(part)}`}`,
      );
    await sleep(20);
  }
};

/** The first JSON line of a part's log that has this `event`. */
export const readyLine = (part: Part, event = "ready", ms = 30_000): Promise<Record<string, unknown>> =>
  until(
    `${part.name} to be ready`,
    part,
    () => {
      for (const line of readFileSync(part.log, "utf8").split("\n")) {
        if (!line.startsWith("{") || !line.includes(`"event":"${event}"`)) continue;
        return JSON.parse(line) as Record<string, unknown>;
      }
      return undefined;
    },
    ms,
  );

/** Ports that are free now. Asked for together, so that they differ. */
export const freePorts = async (count: number): Promise<readonly number[]> => {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
          const server = createServer()
            .once("error", reject)
            .listen(0, "127.0.0.1", () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
};

/** @param dir where logs go, `NAME.log` each, appended to when a part is started again */
export const createNursery = (dir: string): Nursery => {
  const parts: Part[] = [];
  const watchdog = spawn(process.execPath, [join(import.meta.dirname, "watchdog.ts")], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  watchdog.unref();
  const tell = (line: string): void => {
    watchdog.stdin.write(`${line}\n`);
  };
  watchdog.stdin.on("error", () => {});

  const stop = async (part: Part, graceMs = 10_000): Promise<void> => {
    if (part.child.exitCode === null && part.child.signalCode === null) {
      part.child.kill("SIGTERM");
      part.child.kill("SIGCONT");
      await Promise.race([part.ended, sleep(graceMs, undefined, { ref: false })]);
      if (part.child.exitCode === null && part.child.signalCode === null) part.child.kill("SIGKILL");
    }
    await part.ended;
    parts.splice(parts.indexOf(part), 1);
  };

  return {
    start(name, argv, env = {}) {
      const [command, ...args] = argv;
      if (command === undefined) throw new TypeError("an empty command line");
      const log = join(dir, `${name}.log`);
      const fd = openSync(log, "a", 0o600);
      const child = spawn(command, args, { stdio: ["ignore", fd, fd], detached: true, env: { ...process.env, ...env } });
      closeSync(fd);
      if (child.pid === undefined) throw new Error(`${command} cannot be started`);
      const { pid } = child;
      tell(`+${pid}`);
      const ended = new Promise<void>((resolve) => {
        child.once("close", () => {
          tell(`-${pid}`);
          resolve();
        });
      });
      const part: Part = { name, argv, log, pid, child, ended };
      parts.push(part);
      return part;
    },
    stop,
    async stopAll() {
      for (const part of parts.toReversed()) await stop(part);
      watchdog.stdin.end();
    },
  };
};
