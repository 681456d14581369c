// SHA256SUMS of a release, and its signature by minisign.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Source } from "./source.ts";

/** Writes SHA256SUMS of all other files of a directory, as sha256sum reads it. */
export function writeSums(directory: string): void {
  const lines = readdirSync(directory)
    .filter((name) => !name.startsWith("SHA256SUMS"))
    .toSorted()
    .map(
      (name) =>
        `${createHash("sha256")
          .update(readFileSync(join(directory, name)))
          .digest("hex")}  ${name}\n`,
    );
  writeFileSync(join(directory, "SHA256SUMS"), lines.join(""));
}

/**
 * Signs SHA256SUMS: SHA256SUMS.minisig. minisign asks for the password of a key that has one.
 * @param key the file of the secret key
 * @throws Error where minisign is missing or does not sign
 */
export function signSums(directory: string, key: string, { version, revision }: Source): void {
  const comment = `claviger ${version} ${revision}`;
  const { error, status } = spawnSync(
    "minisign",
    ["-S", "-s", key, "-m", join(directory, "SHA256SUMS"), "-t", comment, "-c", "signature of SHA256SUMS"],
    { stdio: ["inherit", "ignore", "inherit"] },
  );
  if (error !== undefined) throw new Error("minisign cannot be run: install it ('apt-get install minisign')");
  if (status !== 0) throw new Error(`minisign did not sign with ${key}`);
}
