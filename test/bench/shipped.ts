// Programs as an image has them: one bundle, and a compile cache that its build has filled.
import { execFileSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..");

/** Builds a program into a directory. @returns the command line that starts it */
export function buildShipped(program: "claviger-gateway" | "claviger-shim", dir: string): readonly string[] {
  const bundle = join(dir, `${program}.mjs`);
  const cache = join(dir, "cache");
  execFileSync(process.execPath, [join(root, "infra", "build.ts"), "--only", program, "--outdir", dir], { cwd: root });
  execFileSync(process.execPath, [bundle, "--help"], { env: { ...process.env, NODE_COMPILE_CACHE: cache } });
  return ["env", `NODE_COMPILE_CACHE=${cache}`, process.execPath, bundle];
}
