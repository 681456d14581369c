// Disks that can be full: small file systems in memory, in the mount namespace of a run.
import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

const filler = "filler";

/** Mounts one of so many MiB at a folder, which is made. It is gone with the mount namespace. */
export function mountSmall(dir: string, mib: number): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mib}m,mode=0700`, "tmpfs", dir]);
}

/** What still has files open there keeps them. */
export function unmount(dir: string): void {
  execFileSync("umount", ["--lazy", dir]);
}

/** Leaves no byte free. */
export function fill(dir: string): void {
  const fd = openSync(join(dir, filler), "w");
  try {
    for (let block = Buffer.alloc(1 << 20, 1); block.length > 0; )
      try {
        writeSync(fd, block);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        block = block.subarray(0, block.length >> 1);
      }
  } finally {
    closeSync(fd);
  }
}

export function empty(dir: string): void {
  rmSync(join(dir, filler), { force: true });
}
