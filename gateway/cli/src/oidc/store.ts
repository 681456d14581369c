// What logins gave, one file for each issuer and client: below ~/.config/claviger/tokens, for this user alone.
import { createHash } from "node:crypto";
import { chmod, mkdir, open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { writeFileAtomically } from "@claviger/proto/runtime/atomic-file.ts";
import { z } from "@claviger/proto/runtime/config.ts";
import { codeOf } from "@claviger/proto/runtime/file-problem.ts";
import { CliError, type Terminal } from "../commander.ts";
import type { FleetOidc } from "../contexts.ts";
import type { Tokens } from "./issuer.ts";

const storedSchema = z.object({
  token: z.string(),
  /** Unix milliseconds. */
  expiresAt: z.number(),
  /** Unix milliseconds. */
  obtainedAt: z.number(),
  refreshToken: z.optional(z.string()),
});
export type Stored = z.infer<typeof storedSchema>;

export interface TokenStore {
  /** Undefined where there is none. @throws CliError where others may read it */
  read(): Promise<Stored | undefined>;
  write(tokens: Tokens): Promise<Stored>;
  remove(): Promise<void>;
  /** Runs while no other command does so: a refresh token may be good once. */
  alone<T>(run: () => Promise<T>): Promise<T>;
}

/** So long a command may keep others waiting; then it has died. More than two requests to an issuer take. */
const lockMs = 60_000;
const lookMs = 100;

function fileName({ issuer, clientId, audience = "", scopes }: FleetOidc): string {
  const id = JSON.stringify([issuer, clientId, audience, [...scopes].toSorted()]);
  return `${new URL(issuer).hostname}-${createHash("sha256").update(id).digest("hex").slice(0, 16)}.json`;
}

async function makeDirectory(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await chmod(directory, 0o700);
}

async function readStored(file: string): Promise<Stored | undefined> {
  let text: string;
  try {
    const handle = await open(file, "r");
    try {
      const { mode } = await handle.stat();
      if ((mode & 0o077) !== 0)
        throw new CliError(
          `${file} can be read by others: a token is in it; 'claviger logout' and 'claviger login' make another`,
        );
      text = await handle.readFile("utf8");
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    const parsed = z.safeParse(storedSchema, JSON.parse(text));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

export function openTokenStore(oidc: FleetOidc, { home }: Pick<Terminal, "home">): TokenStore {
  const directory = join(home, ".config", "claviger", "tokens");
  const file = join(directory, fileName(oidc));
  const lock = `${file}.lock`;
  const isLeft = async (): Promise<boolean> => {
    const found = await stat(lock).catch(() => undefined);
    return found !== undefined && Date.now() - found.mtimeMs > lockMs;
  };
  const acquire = async (): Promise<void> => {
    for (;;)
      try {
        await (await open(lock, "wx", 0o600)).close();
        return;
      } catch (error) {
        if (codeOf(error) !== "EEXIST") throw error;
        if (await isLeft()) await rm(lock, { force: true });
        else await delay(lookMs);
      }
  };
  return {
    read: () => readStored(file),
    async write({ token, expiresAt, refreshToken }) {
      const stored = { token, expiresAt, obtainedAt: Date.now(), ...(refreshToken !== undefined && { refreshToken }) };
      await makeDirectory(directory);
      await writeFileAtomically(file, `${JSON.stringify(stored)}\n`, 0o600);
      return stored;
    },
    remove: () => rm(file, { force: true }),
    async alone(run) {
      await makeDirectory(directory);
      await acquire();
      try {
        return await run();
      } finally {
        await rm(lock, { force: true });
      }
    },
  };
}
