// The programs of the last commit of 0.1.0, built from the repository's history with what is in node_modules:
// its lockfile has the same versions of what it needs.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { Programs } from "./site.ts";

const root = join(import.meta.dirname, "..", "..");
const commit = "aa56adb";

/** Whether this clone has it: a shallow one does not. */
export function hasEarlier(): boolean {
  return spawnSync("git", ["cat-file", "-e", `${commit}^{commit}`], { cwd: root, stdio: "ignore" }).status === 0;
}

/** Packages of npm are shared; those of the repository are of that commit. */
function linkPackages(dir: string): void {
  const [from, to] = [join(root, "node_modules"), join(dir, "node_modules")];
  mkdirSync(join(to, "@claviger"), { recursive: true });
  for (const name of readdirSync(from))
    if (name !== "@claviger" && !name.startsWith(".")) symlinkSync(join(from, name), join(to, name));
  for (const name of ["proto", "shim", "gateway"]) symlinkSync(join(dir, name), join(to, "@claviger", name));
}

/** Builds them into a folder. */
export function buildEarlier(dir: string): Programs {
  mkdirSync(dir, { recursive: true });
  const archive = execFileSync("git", ["archive", commit], { cwd: root, maxBuffer: 1 << 28 });
  execFileSync("tar", ["-x", "-C", dir], { input: archive });
  linkPackages(dir);
  const out = join(dir, "dist");
  execFileSync(process.execPath, [join(dir, "infra", "build.ts"), "--outdir", out], { cwd: dir });
  const run = (name: string): readonly string[] => [process.execPath, join(out, `${name}.mjs`)];
  return { gateway: run("claviger-gateway"), shim: run("claviger-shim") };
}
