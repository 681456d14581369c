// Runs one command of an installation, says every few seconds that it goes on, and shows its last
// lines when it fails.
import { spawn } from "node:child_process";

/** Cannot go on; the message says what the reader has to do. */
export class MissingError extends Error {
  override readonly name = "MissingError";
}

export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

export type Command = {
  readonly what: string;
  readonly argv: readonly [string, ...string[]];
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal | undefined;
};

/** Resolves with what it printed. @throws MissingError */
export async function runCommand({ what, argv: [command, ...args], cwd, env, signal }: Command): Promise<string> {
  const began = Date.now();
  say(`  ${what} ...`);
  const tick = setInterval(() => say(`  ${what} ... ${Math.round((Date.now() - began) / 1000)} s`), 10_000);
  try {
    return await new Promise<string>((resolve, reject) => {
      const child = spawn(command, args, {
        cwd,
        signal,
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, ...env },
      });
      let tail = "";
      const keep = (chunk: Buffer): void => {
        tail = (tail + chunk.toString()).slice(-3000);
      };
      child.stdout.on("data", keep);
      child.stderr.on("data", keep);
      child.once("error", (error) => reject(new MissingError(`${command} cannot be run: ${error.message}`)));
      child.once("close", (code) =>
        code === 0
          ? resolve(tail)
          : reject(new MissingError(`'${[command, ...args].join(" ")}' failed with status ${code}:\n${tail}`)),
      );
    });
  } finally {
    clearInterval(tick);
  }
}
