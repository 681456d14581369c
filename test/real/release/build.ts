// Releases for the tests: of this checkout, and of a second one elsewhere with the same content.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { runCommand } from "../../parts/command.ts";

export const root = join(import.meta.dirname, "..", "..", "..");

/**
 * Runs `npm run release` of a checkout.
 * @param umask of whoever runs it, with their environment
 */
export async function buildRelease(
  checkout: string,
  { out, signKey, umask, env }: { out: string; signKey: string; umask: string; env: NodeJS.ProcessEnv },
): Promise<void> {
  const command = `umask ${umask} && exec npm run --silent release -- --out "$0" --sign-key "$1"`;
  await runCommand({
    what: `release of ${checkout}`,
    argv: ["sh", "-c", command, out, signKey],
    cwd: checkout,
    env,
  });
}

function git(...args: readonly string[]): string {
  return execFileSync("git", args, { cwd: root, encoding: "utf8" });
}

/** A clone of this checkout in a directory that is made, with packages of its own, and with what is not committed here. */
export function cloneTo(directory: string): void {
  git("clone", "--quiet", root, directory);
  const listed = (...args: readonly string[]): readonly string[] =>
    git("ls-files", "-z", ...args)
      .split("\0")
      .filter((path) => path !== "");
  for (const path of listed("--deleted")) rmSync(join(directory, path));
  const gone = new Set(listed("--deleted"));
  for (const path of listed("--modified", "--others", "--exclude-standard")) {
    if (gone.has(path)) continue;
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    cpSync(join(root, path), join(directory, path));
  }
  // Links to the workspace's packages are relative: they lead into the clone.
  const ignored = listed("--others", "--ignored", "--exclude-standard", "--directory");
  for (const modules of ignored.filter((path) => path.endsWith("node_modules/")))
    execFileSync("cp", ["-a", join(root, modules), join(directory, modules)]);
}
