// What package-lock.json says of an npm package: version, licence, and the hash of its archive.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./source.ts";

export type LockedPackage = {
  readonly name: string;
  readonly version: string;
  /** Identifiers or expressions of SPDX, or names; of several each may be chosen. */
  readonly licences: readonly string[];
  /** `sha512-` and base64, of the archive that the registry serves. */
  readonly integrity: string;
};

/** In old packages a list. */
type License = string | readonly { readonly type: string }[];
type Lock = {
  readonly packages: Readonly<
    Record<string, { readonly version?: string; readonly license?: License; readonly integrity?: string }>
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
    licences: typeof license === "string" ? [license] : license.map(({ type }) => type),
    integrity,
  };
}
