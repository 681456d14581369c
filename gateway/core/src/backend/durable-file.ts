// A small file that several processes change: whole, on the disk before anyone sees it, one writer
// at a time.
import { randomUUID } from "node:crypto";
import { link, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { KmsError } from "@claviger/proto/wire/errors.ts";

/** Replaces a file, mode 0600: temporary file, fsync, rename, fsync of the directory. */
export async function writeDurably(file: string, text: string): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`;
  const handle = await open(temporary, "w", 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
  const directory = await open(dirname(file), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Tells this process from an earlier one of the same number: in a container both are number 1. */
const self = `${process.pid} ${randomUUID()}`;

function isHeld(holder: string): boolean {
  const pid = Number(holder.split(" ")[0]);
  return pid === process.pid ? holder === self : pid > 0 && isAlive(pid);
}

/** Takes the lock unless somebody has it; says who. */
async function tryLock(lock: string): Promise<string | undefined> {
  // Written first and linked then: a lock is never empty, whenever its holder dies.
  const own = `${lock}.${randomUUID()}`;
  await writeFile(own, self, { mode: 0o600 });
  try {
    await link(own, lock);
    return undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return await readFile(lock, "utf8").catch(() => self);
  } finally {
    await rm(own, { force: true });
  }
}

/**
 * Runs `work` while holding `FILE.lock`, which names its holder; one whose process is gone is taken
 * over.
 * @throws KmsError backend_unavailable when the lock is not to be had within 3 seconds
 */
export async function withLock<T>(file: string, work: () => Promise<T>): Promise<T> {
  const lock = `${file}.lock`;
  const end = Date.now() + 3000;
  for (let holder = await tryLock(lock); holder !== undefined; holder = await tryLock(lock)) {
    if (!isHeld(holder)) await rm(lock, { force: true });
    else if (Date.now() > end)
      throw new KmsError("backend_unavailable", { cause: new Error(`${lock} is held by process ${holder}`) });
    await sleep(10);
  }
  try {
    return await work();
  } finally {
    await rm(lock, { force: true });
  }
}
