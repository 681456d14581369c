// Child processes of the lab: started in a group of their own, their output in a file, and always
// stopped: a watchdog outlives this process and ends them when it cannot.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A running part. `argv` starts it again, in the same environment. */
export type LabProcess = {
  readonly name: string;
  readonly argv: readonly string[];
  readonly log: string;
  /** Where in the log this process begins; before it stands what an earlier one wrote. */
  readonly logStart: number;
  readonly pid: number;
  readonly child: ChildProcess;
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
};

/** Starts processes and ends all of them; `stop` in the reverse order of `start`. */
export type ProcessGroup = {
  start(name: string, argv: readonly string[], env?: NodeJS.ProcessEnv): LabProcess;
  /** Ends one: SIGTERM, then SIGKILL after `graceMs`. One that has ended is left alone. */
  stop(proc: LabProcess, graceMs?: number): Promise<void>;
  /**
   * Ends one and starts it again with the same command line. It is not ready yet: see readyLine.
   */
  restart(proc: LabProcess, graceMs?: number): Promise<LabProcess>;
  /** Ends all; nothing can be started after that. */
  stopAll(): Promise<void>;
};

function hasEnded({ child }: LabProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** The last lines of a part's log, for error messages. */
export function tailOf(proc: LabProcess, lines = 15): string {
  return readFileSync(proc.log, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
}

/**
 * Waits until `probe` gives something, asking often.
 * @throws Error with the last lines of the part's log when it ends first or time is over
 */
export async function until<T>(
  what: string,
  proc: LabProcess | undefined,
  probe: () => T | undefined | Promise<T | undefined>,
  ms = 30_000,
): Promise<T> {
  const end = Date.now() + ms;
  for (;;) {
    const found = await probe();
    if (found !== undefined) return found;
    const isOver = proc !== undefined && hasEnded(proc);
    if (isOver || Date.now() > end)
      throw new Error(
        `${what}: ${isOver ? `${proc.name} ended` : `not within ${ms / 1000} s`}${proc === undefined ? "" : `; its last words:\n${tailOf(proc)}`}`,
      );
    await sleep(20);
  }
}

/** What a part has written since it was started. */
export function logOf(proc: LabProcess): string {
  return readFileSync(proc.log).subarray(proc.logStart).toString("utf8");
}

/** The first JSON line that a part has logged with this `event`. */
export function readyLine(proc: LabProcess, event = "ready", ms = 30_000): Promise<Record<string, unknown>> {
  return until(
    `${proc.name} to be ready`,
    proc,
    () => {
      // The last piece may be half a line.
      for (const line of logOf(proc).split("\n").slice(0, -1)) {
        if (!line.startsWith("{") || !line.includes(`"event":"${event}"`)) continue;
        return JSON.parse(line) as Record<string, unknown>;
      }
      return undefined;
    },
    ms,
  );
}

/** Ports that are free now. Asked for together, so that they differ. */
export async function freePorts(count: number): Promise<readonly number[]> {
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
}

/** @param dir where logs go, `NAME.log` each, appended to when a part is started again */
export function createProcessGroup(dir: string): ProcessGroup {
  const parts: LabProcess[] = [];
  const watchdog = spawn(process.execPath, [join(import.meta.dirname, "watchdog.ts")], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  watchdog.unref();
  const tell = (line: string): void => {
    watchdog.stdin.write(`${line}\n`);
  };
  watchdog.stdin.on("error", () => {});

  const stop = async (proc: LabProcess, graceMs = 10_000): Promise<void> => {
    if (!hasEnded(proc)) {
      proc.child.kill("SIGTERM");
      proc.child.kill("SIGCONT");
      await Promise.race([proc.ended, sleep(graceMs, undefined, { ref: false })]);
      if (!hasEnded(proc)) proc.child.kill("SIGKILL");
    }
    await proc.ended;
    const at = parts.indexOf(proc);
    if (at >= 0) parts.splice(at, 1);
  };

  let isClosed = false;
  const start = (name: string, argv: readonly string[], env: NodeJS.ProcessEnv = {}): LabProcess => {
    if (isClosed) throw new Error(`${name} is not started: everything is being stopped`);
    const [command, ...args] = argv;
    if (command === undefined) throw new TypeError("an empty command line");
    const log = join(dir, `${name}.log`);
    const fd = openSync(log, "a", 0o600);
    const logStart = fstatSync(fd).size;
    const child = spawn(command, args, { stdio: ["ignore", fd, fd], detached: true, env: { ...process.env, ...env } });
    closeSync(fd);
    // Said by the missing pid already; without a listener it would end the process.
    child.on("error", () => {});
    if (child.pid === undefined) throw new Error(`${command} cannot be started`);
    const { pid } = child;
    tell(`+${pid}`);
    const ended = new Promise<void>((resolve) => {
      child.once("close", () => {
        tell(`-${pid}`);
        resolve();
      });
    });
    const proc: LabProcess = { name, argv, log, logStart, pid, child, ended };
    parts.push(proc);
    return proc;
  };

  return {
    start,
    stop,
    async restart(proc, graceMs) {
      await stop(proc, graceMs);
      return start(proc.name, proc.argv);
    },
    async stopAll() {
      isClosed = true;
      for (const proc of parts.toReversed()) await stop(proc);
      watchdog.stdin.end();
    },
  };
}
