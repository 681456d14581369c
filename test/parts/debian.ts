// A Debian 12 as it is installed anew, for packages to be tried in. Made once, from Debian's archive.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "./command.ts";
import type { FetchOptions } from "./fetch.ts";
import { cacheDir } from "./find.ts";

/** What is in it besides the essential packages. */
const included = ["libstdc++6", "logrotate", "passwd", "rpm", "systemd-sysv"];

function archive(): string {
  return join(cacheDir(), `debian-12-${included.join("-")}.tar`);
}

export async function installDebianRoot({ signal }: FetchOptions): Promise<void> {
  if (existsSync(archive())) return;
  mkdirSync(cacheDir(), { recursive: true });
  const making = `${archive()}.${process.pid}`;
  await runCommand({
    what: "a Debian 12 to install packages in (half a minute)",
    argv: [
      "mmdebstrap",
      "--quiet",
      "--variant=essential",
      `--include=${included.join(",")}`,
      "--format=tar",
      "bookworm",
      making,
    ],
    signal,
  });
  await rename(making, archive());
}

/** Unpacks it. Needs root. */
export function debianRoot(directory: string): void {
  mkdirSync(directory, { recursive: true });
  execFileSync("tar", ["--extract", "--file", archive(), "--directory", directory, "--numeric-owner"]);
}
