// Writes a file whole or not at all.
import { randomBytes } from "node:crypto";
import { link, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";

/** A file would be overwritten that must not be. */
export class FileExistsError extends Error {
  override readonly name = "FileExistsError";

  constructor(file: string) {
    super(`${file} exists; move it away first if you really want a new one`);
  }
}

/**
 * Writes a file beside its place, flushes it and moves it there: a reader sees the old bytes or the
 * new ones.
 * @param mode of the new file, whatever the umask is
 * @param owner of the new file; who writes it when absent. Giving a file away takes root: EPERM
 * @param overwrite false: fails with FileExistsError when there is a file already, also one made at
 * this very moment
 */
export async function writeFileAtomically(
  file: string,
  text: string,
  mode: number,
  overwrite = true,
  owner?: { readonly uid: number; readonly gid: number },
): Promise<void> {
  const beside = join(dirname(file), `.${randomBytes(6).toString("hex")}.tmp`);
  try {
    const handle = await open(beside, "wx", 0o600);
    try {
      await handle.writeFile(text);
      if (owner !== undefined) await handle.chown(owner.uid, owner.gid);
      await handle.chmod(mode);
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (overwrite) return await rename(beside, file);
    await link(beside, file);
  } catch (error) {
    if (!overwrite && (error as NodeJS.ErrnoException).code === "EEXIST") throw new FileExistsError(file);
    throw error;
  } finally {
    await rm(beside, { force: true });
  }
}
