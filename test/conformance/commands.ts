// A target whose hooks are commands: for plugins of any make. Read from a JSON file.
import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { checkConfig, z } from "@claviger/proto/runtime/config.ts";
import type { Instance, Target } from "./check.ts";

const run = promisify(execFile);
const argv = z.array(z.string()).check(z.minLength(1));

const schema = z.strictObject({
  socket: z.string(),
  secondSocket: z.optional(z.string()),
  /** Starts an instance in the foreground; `{socket}` stands for the path. */
  launch: z.optional(argv),
  /** The same with a backend that cannot be reached; added to `launch` for a take-over. */
  launchUnreachable: z.optional(argv),
  takeoverFlag: z.optional(z.string()),
  rotate: z.optional(argv),
  recreate: z.optional(argv),
  propagationMs: z.optional(z.number()),
  backend: z.optional(
    z.strictObject({
      down: z.optional(argv),
      up: z.optional(argv),
      hang: z.optional(argv),
      forbidDecrypt: z.optional(argv),
      allowDecrypt: z.optional(argv),
      /** `{fault}` stands for a name in `faults`. */
      answer: z.optional(argv),
      faults: z.optional(z.record(z.string(), z.array(z.number()))),
      /** Prints a number. */
      calls: z.optional(argv),
    }),
  ),
  /** Prints all that the plugin has logged. */
  logs: z.optional(argv),
  /** Of the process whose memory counts. */
  pid: z.optional(z.number()),
});

function filled(command: readonly string[], values: Readonly<Record<string, string>>): readonly string[] {
  return command.map((word) => word.replaceAll(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole));
}

/** Starts a process in the foreground, its output kept. */
export function startInstance(command: readonly string[], umask?: number): Instance {
  // The umask is inherited, and Node can only set its own: a shell's `umask` and `exec` leave no
  // process between.
  const [file = "", ...args] =
    umask === undefined ? command : ["/bin/sh", "-c", `umask ${umask.toString(8)} && exec "$@"`, "sh", ...command];
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-100_000);
    });
  const exited = new Promise<number | null>((resolve) => child.once("close", (code) => resolve(code)));
  return { pid: child.pid ?? 0, exited, output: () => output, signal: (name) => void child.kill(name) };
}

/** Resident memory of a process in bytes. */
export function rssOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
}

/** @throws ConfigError with every problem of the file */
export function readTarget(file: string): Target {
  const config = checkConfig(file, JSON.parse(readFileSync(file, "utf8")) as unknown, schema);
  const act = (command: readonly string[] | undefined) =>
    command === undefined
      ? undefined
      : async (): Promise<void> => {
          await run(command[0] ?? "", command.slice(1));
        };
  const ask = (command: readonly string[] | undefined) =>
    command === undefined
      ? undefined
      : async (): Promise<string> => (await run(command[0] ?? "", command.slice(1), { maxBuffer: 1e8 })).stdout;
  const { backend, launch, launchUnreachable, takeoverFlag, pid } = config;
  const calls = ask(backend?.calls);
  const answer = backend?.answer;
  const defined = <T extends object>(values: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
    Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
      [K in keyof T]: Exclude<T[K], undefined>;
    };
  return defined({
    socket: config.socket,
    secondSocket: config.secondSocket,
    propagationMs: config.propagationMs,
    launch:
      launch === undefined
        ? undefined
        : async (socket: string, options: { unreachable?: boolean; umask?: number; takeover?: boolean } = {}) => {
            const command = options.unreachable === true ? launchUnreachable : launch;
            if (command === undefined) throw new Error("the target gives no launchUnreachable");
            return startInstance(
              [
                ...filled(command, { socket }),
                ...(options.takeover === true && takeoverFlag !== undefined ? [takeoverFlag] : []),
              ],
              options.umask,
            );
          },
    rotate: act(config.rotate),
    recreate: act(config.recreate),
    logs: ask(config.logs),
    rss: pid === undefined ? undefined : () => Promise.resolve(rssOf(pid)),
    backend: defined({
      down: act(backend?.down),
      up: act(backend?.up),
      hang: act(backend?.hang),
      forbidDecrypt: act(backend?.forbidDecrypt),
      allowDecrypt: act(backend?.allowDecrypt),
      faults: backend?.faults,
      calls: calls === undefined ? undefined : async () => Number(await calls()),
      answer:
        answer === undefined
          ? undefined
          : async (fault: string) => {
              const [command = "", ...args] = filled(answer, { fault });
              await run(command, args);
            },
    }),
  }) as Target;
}
