// Images for a node's containerd: those of a release, for this machine's architecture, and one that holds a pod together.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { makeBundle } from "../../../infra/release/bundles.ts";
import { baseLayer, imageArchive } from "../../../infra/release/image.ts";
import { readSource } from "../../../infra/release/source.ts";
import { installReleaseParts } from "../../parts/release.ts";

export const prefix = "registry.invalid/claviger";
const programs = {
  shim: "claviger-shim",
  gateway: "claviger-gateway",
  fleet: "claviger-fleet",
  cli: "claviger",
} as const;

/** Archives of the images, as `npm run release` makes them. @returns files that `ctr images import` takes */
export async function releaseImages(dir: string): Promise<readonly string[]> {
  const [source, parts] = [readSource(), await installReleaseParts()];
  const bases = new Map([["amd64", await baseLayer("amd64", parts, source)]] as const);
  const scratch = join(dir, "bundles");
  mkdirSync(scratch, { recursive: true });
  const files: string[] = [];
  for (const [image, program] of Object.entries(programs)) {
    const bundle = await makeBundle(program, scratch);
    const file = join(dir, `${image}.oci.tar`);
    writeFileSync(file, await imageArchive({ image, prefix, bundle, bases, source }));
    files.push(file);
  }
  return files;
}

/** Libraries that a program loads, by their paths; none where it is static. */
function librariesOf(program: string): readonly string[] {
  const { stdout } = spawnSync("ldd", [program], { encoding: "utf8" });
  return stdout.match(/\/\S+(?= \()/g) ?? [];
}

/** An image of one program and what it loads. @returns the archive */
export function programImage(dir: string, name: string, program: string): string {
  const storage = ["--storage-driver", "vfs", "--root", join(dir, "buildah"), "--runroot", join(dir, "buildah-run")];
  const buildah = (...args: readonly string[]): string =>
    execFileSync("buildah", [...storage, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
  const container = buildah("from", "scratch");
  const path = join("/usr/bin", basename(program));
  for (const [from, to] of [[program, path], ...librariesOf(program).map((library) => [library, library])] as const)
    buildah("copy", "--chmod", "755", container, from ?? "", to ?? "");
  buildah("config", "--entrypoint", JSON.stringify([path]), container);
  const archive = join(dir, `${basename(program)}.oci.tar`);
  buildah("commit", container, `oci-archive:${archive}:${name}`);
  return archive;
}
