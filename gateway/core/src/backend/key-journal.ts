// The file of the embedded backend: the keys as they once were, and below that one line for each
// change since. Lines are appended (O_APPEND) and nothing is ever written over, moved or removed: the
// system puts the lines of any number of processes in an order, and what stands in the file stays. So
// no lock is needed, and none can be stolen. For local file systems; NFS appends otherwise.
import { createHash, randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, link, open, readFile, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { checkConfig, ConfigError, z, zInteger } from "@claviger/proto/runtime/config.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";

const createdAt = zInteger(0, Number.MAX_SAFE_INTEGER);
const material = z.string().check(z.regex(/^[A-Za-z0-9+/]{43}=$/, { error: "must be 32 bytes of base64" }));
const minimum = zInteger(0, 1_000_000);
const keySchema = z.strictObject({
  minEncryption: minimum,
  minDecryption: zInteger(1, 1_000_000),
  versions: z
    .record(
      z.string().check(z.regex(/^[1-9]\d{0,6}$/, { error: "must be a version number" })),
      z.strictObject({ createdAt, material }),
    )
    .check(z.refine((versions) => Object.keys(versions).length > 0, { error: "must hold at least one version" })),
});
/** All that a file of 0.1.0 holds. */
const baseSchema = z.strictObject({ format: z.literal("claviger-keys-1"), keys: z.record(z.string(), keySchema) });

const changeSchema = z.discriminatedUnion("change", [
  /** Version 1 of a key that is not there; nothing where it is. */
  z.strictObject({ change: z.literal("make"), key: z.string(), createdAt, material }),
  /** The version after the latest one, whichever that is by then. */
  z.strictObject({ change: z.literal("rotate"), key: z.string(), createdAt, material }),
  z.strictObject({ change: z.literal("promote"), key: z.string(), version: minimum }),
  z.strictObject({ change: z.literal("retire"), key: z.string(), version: minimum }),
]);

export type StoredKey = z.infer<typeof keySchema>;
export type StoredKeys = Readonly<Record<string, StoredKey>>;
export type KeyChange = z.infer<typeof changeSchema>;

/** The latest version's number. */
export function latestOf({ versions }: StoredKey): number {
  return Math.max(...Object.keys(versions).map(Number));
}

/** The bytes of a new version, and when it was made. */
export function newMaterial(): { readonly createdAt: number; readonly material: string } {
  return { createdAt: Math.floor(Date.now() / 1000), material: randomBytes(32).toString("base64") };
}

function applied(current: StoredKey | undefined, change: KeyChange): StoredKey | undefined {
  switch (change.change) {
    case "make":
    case "rotate": {
      if (current !== undefined && change.change === "make") return current;
      const made = { createdAt: change.createdAt, material: change.material };
      if (current === undefined) return { minEncryption: 0, minDecryption: 1, versions: { 1: made } };
      return { ...current, versions: { ...current.versions, [latestOf(current) + 1]: made } };
    }
    case "promote":
      return current?.versions[String(change.version)] === undefined
        ? current
        : { ...current, minEncryption: change.version };
    case "retire":
      return current && { ...current, minDecryption: Math.max(change.version, 1) };
  }
}

function checksum(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/**
 * A line begins with a newline of its own: where a process ended in the middle of one before, that
 * remains apart.
 */
function lineOf(change: KeyChange): string {
  const text = JSON.stringify(change);
  return `\n${text} ${checksum(text)}\n`;
}

/** Undefined for what a process left that ended in the middle of a line: nobody was told of it. */
function parseLine(file: string, line: string): KeyChange | undefined {
  const [, text = "", sum = ""] = /^(\{.*\}) ([\da-f]{16})$/.exec(line) ?? [];
  if (text === "") return undefined;
  if (checksum(text) !== sum)
    throw new ConfigError(file, ["has a line whose checksum is not right; restore it from a backup"]);
  return checkConfig(file, JSON.parse(text), changeSchema);
}

/** The end of the JSON at the file's head: its first line that is only `}`, or its first line. */
function headLength(text: string): number {
  const pretty = /^\}$/m.exec(text);
  if (pretty !== null) return pretty.index + 1;
  const end = text.indexOf("\n");
  return end === -1 ? text.length : end;
}

function parseFile(file: string, text: string): StoredKeys {
  const head = headLength(text);
  let base: unknown;
  try {
    base = JSON.parse(text.slice(0, head));
  } catch {
    throw new ConfigError(file, ["is not JSON; restore it from a backup: without it nothing can be decrypted"]);
  }
  const keys: Record<string, StoredKey> = { ...checkConfig(file, base, baseSchema).keys };
  for (const line of text.slice(head).split("\n")) {
    const change = parseLine(file, line);
    const next = change && applied(keys[change.key], change);
    if (change !== undefined && next !== undefined) keys[change.key] = next;
  }
  return keys;
}

async function syncDirectory(file: string): Promise<void> {
  await using directory = await open(dirname(file), "r");
  await directory.sync();
}

async function writeWhole(handle: FileHandle, text: string): Promise<void> {
  const bytes = Buffer.from(text);
  // One write of the system: what others append stands before or behind it.
  const { bytesWritten } = await handle.write(bytes);
  if (bytesWritten !== bytes.length) throw new Error("the line was written in part: is the disk full?");
  await handle.sync();
}

/** Makes a file without keys, whole, unless there is one. */
async function makeFile(file: string): Promise<void> {
  const beside = `${file}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    {
      await using handle = await open(beside, "wx", 0o600);
      await writeWhole(handle, `${JSON.stringify({ format: "claviger-keys-1", keys: {} }, undefined, 2)}\n`);
    }
    await link(beside, file).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    });
    await syncDirectory(file);
  } finally {
    await rm(beside, { force: true });
  }
}

export interface KeyJournal {
  /** The keys as they are now. @throws ConfigError when the file is not usable; KmsError when it is gone */
  read(): Promise<StoredKeys>;
  /** Adds changes, on the disk when this resolves, with the keys after that; makes the file if there is none. */
  append(changes: readonly KeyChange[]): Promise<StoredKeys>;
}

export function createKeyJournal(file: string): KeyJournal {
  let seen = "";
  let keys: StoredKeys = {};
  const read = async (): Promise<StoredKeys> => {
    const mark = await stat(file).then(
      ({ ino, size, mtimeMs }) => `${ino} ${size} ${mtimeMs}`,
      (error: unknown) => {
        const { code = "unknown error" } = error as NodeJS.ErrnoException;
        if (code === "ENOENT") return "";
        throw new ConfigError(file, [`cannot be read (${code})`]);
      },
    );
    if (mark === seen) return keys;
    if (mark === "") throw new KmsError("backend_unavailable", { cause: new Error(`${file} is gone`) });
    const now = parseFile(file, await readFile(file, "utf8"));
    [seen, keys] = [mark, now];
    return now;
  };
  return {
    read,
    async append(changes) {
      // A file that is broken or gone is left as it is.
      await read();
      if (seen === "") await makeFile(file);
      {
        await using handle = await open(file, constants.O_WRONLY | constants.O_APPEND);
        for (const change of changes) await writeWhole(handle, lineOf(change));
      }
      return await read();
    },
  };
}
