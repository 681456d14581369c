// A process of ours as a child: started, waited for until it says that it is ready, stopped again.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export type Child = {
  readonly name: string;
  readonly pid: number;
  /** The fields of its ready line. */
  readonly ready: Readonly<Record<string, unknown>>;
  /** Ends it: SIGTERM, and SIGKILL when it has not drained in 15 s. */
  stop(): Promise<void>;
};

const keptLines = 20;
const readyMs = 30_000;
const drainMs = 15_000;

const parseLine = (line: string): Readonly<Record<string, unknown>> | undefined => {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
};

/**
 * Starts a program with this Node and waits for its line `{"event":"ready",...}` on standard error.
 * @param onExit called when it ends without having been asked to
 * @throws Error with its last lines when it ends first or takes longer than 30 s
 */
export const startChild = async ({
  name,
  script,
  args,
  env,
  onExit,
}: {
  readonly name: string;
  readonly script: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly onExit: (why: string) => void;
}): Promise<Child> => {
  const child = spawn(process.execPath, [script, ...args], { env, stdio: ["ignore", "ignore", "pipe"] });
  const exited = once(child, "exit");
  let isStopping = false;
  const last: string[] = [];
  const lines = createInterface({ input: child.stderr });
  const stop = async (): Promise<void> => {
    isStopping = true;
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), drainMs);
    await exited;
    clearTimeout(timer);
  };
  const { promise, resolve, reject } = Promise.withResolvers<Readonly<Record<string, unknown>>>();
  const fail = (why: string): void => reject(new Error(`${name} ${why}; its last lines:\n${last.map((line) => `  ${line}`).join("\n")}`));
  const timer = setTimeout(() => fail(`was not ready after ${readyMs / 1000} s`), readyMs);
  lines.on("line", (line) => {
    last.push(line);
    if (last.length > keptLines) last.shift();
    const fields = parseLine(line);
    if (fields?.["event"] === "ready") resolve(fields);
  });
  child.once("error", (error) => fail(`cannot be started (${error.message})`));
  child.once("close", (code, signal) => {
    fail(`ended with ${signal ?? `status ${code}`}`);
    if (!isStopping) onExit(`${name} ended unasked; its last lines:\n${last.map((line) => `  ${line}`).join("\n")}`);
  });
  try {
    const ready = await promise;
    return { name, pid: child.pid ?? 0, ready, stop };
  } catch (error) {
    await stop();
    throw error;
  } finally {
    clearTimeout(timer);
  }
};
