// What package-lock.json says of an npm package: version, licence, and the hash of its archive.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./source.ts";

export type LockedPackage = {
  readonly name: string;
  readonly version: string;
  readonly licence: string;
  /** `sha512-` and base64, of the archive that the registry serves. */
  readonly integrity: string;
};

type Lock = {
  readonly packages: Readonly<
    Record<string, { readonly version?: string; readonly license?: string; readonly integrity?: string }>
  >;
};

let lock: Lock | undefined;

/**
 * @param place as in the lockfile: `proto/node_modules/a`
 * @throws Error where the lockfile lacks it, or its hash or licence
 */
export function lockedPackage(place: string): LockedPackage {
  lock ??= JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as Lock;
  const { version, license, integrity } = lock.packages[place] ?? {};
  if (version === undefined || license === undefined || integrity?.startsWith("sha512-") !== true)
    throw new Error(`package-lock.json lacks version, licence or SHA-512 of ${place}: run 'npm install'`);
  return {
    name: place.slice(place.lastIndexOf("node_modules/") + "node_modules/".length),
    version,
    licence: license,
    integrity,
  };
}
