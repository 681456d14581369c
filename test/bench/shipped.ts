// Programs as an image has them: one bundle, Node.js with the flags of the image's entry point, and a
// compile cache that was filled with the same flags.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..");

export type Program = "claviger-gateway" | "claviger-shim";

/** The flags that Node.js gets in the image of a program, as a checkout has it. */
export function shippedFlags(program: Program, checkout = root): readonly string[] {
  const file = join(checkout, "infra", "image", `${program.replace("claviger-", "")}.Dockerfile`);
  const entry = /^ENTRYPOINT (\[.*\])$/m.exec(readFileSync(file, "utf8"))?.[1];
  if (entry === undefined) throw new Error(`${file} has no ENTRYPOINT`);
  return (JSON.parse(entry) as readonly string[]).filter((word) => word.startsWith("--"));
}

/** Builds a program into a directory. @returns the command line that starts it */
export function buildShipped(program: Program, dir: string): readonly string[] {
  const bundle = join(dir, `${program}.mjs`);
  const cache = join(dir, "cache");
  execFileSync(process.execPath, [join(root, "infra", "build.ts"), "--only", program, "--outdir", dir], { cwd: root });
  // V8 refuses a cache made with other flags.
  const command = [...shippedFlags(program), bundle];
  execFileSync(process.execPath, [...command, "--help"], { env: { ...process.env, NODE_COMPILE_CACHE: cache } });
  return ["env", `NODE_COMPILE_CACHE=${cache}`, process.execPath, ...command];
}
