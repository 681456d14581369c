// What a release is made from: version, commit and its time.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

export const root = join(import.meta.dirname, "..", "..");

export type Source = {
  readonly version: string;
  /** Of Git; `-dirty` behind it where files differ from the commit. */
  readonly revision: string;
  /** When the commit was made, in seconds since 1970: the time of everything in the release. */
  readonly epoch: number;
};

/** @throws Error where this is no checkout of Git */
export function readSource(): Source {
  const git = (...args: readonly string[]): string =>
    execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }).trim();
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly version: string };
  const isDirty = git("status", "--porcelain") !== "";
  return {
    version,
    revision: `${git("rev-parse", "HEAD")}${isDirty ? "-dirty" : ""}`,
    epoch: Number(git("log", "-1", "--format=%ct")),
  };
}

/** Files differ from the commit: whoever has the commit cannot make this release. */
export function isDirty({ revision }: Source): boolean {
  return revision.endsWith("-dirty");
}
