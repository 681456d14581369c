// deb and rpm, by nfpm (https://nfpm.goreleaser.com/docs/configuration): one package with Node.js for
// each architecture, and one for each program that all architectures share.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Scripts } from "./scripts.ts";
import type { Source } from "./source.ts";
import type { Entry } from "./tar.ts";

export type Package = {
  readonly name: string;
  readonly version: string;
  readonly architecture: "amd64" | "arm64" | "all";
  /** A line, and more of it. */
  readonly summary: string;
  readonly about: string;
  readonly licence: string;
  /** With paths from `/`. */
  readonly entries: readonly Entry[];
  /** Files that the administrator edits: a changed one stays. */
  readonly configuration: ReadonlySet<string>;
  readonly depends: { readonly deb: readonly string[]; readonly rpm: readonly string[] };
  readonly scripts?: { readonly deb: Scripts; readonly rpm: Scripts };
};

export const maintainer = "Claviger <claviger@registry.invalid>";
export const packagers = ["deb", "rpm"] as const;
export type Packager = (typeof packagers)[number];

/** As each kind's own tools name them. */
export function packageFile({ name, version, architecture }: Package, packager: Packager): string {
  const rpmNames = { amd64: "x86_64", arm64: "aarch64", all: "noarch" } as const;
  return packager === "deb"
    ? `${name}_${version}_${architecture}.deb`
    : `${name}-${version}-1.${rpmNames[architecture]}.rpm`;
}

/** Writes a text or bytes below a directory, and returns where. */
function put(directory: string, path: string, content: string | Buffer): string {
  const at = join(directory, path);
  mkdirSync(dirname(at), { recursive: true });
  writeFileSync(at, content);
  return at;
}

/** Directories that nobody else has: rpm removes those alone that a package names. */
function ownFolders({ entries }: Package): readonly string[] {
  const folders = new Set<string>();
  for (const { path } of entries)
    for (let folder = dirname(`/${path}`); /\/claviger(?:-[a-z]+)?(?:\/|$)/.test(folder); folder = dirname(folder))
      folders.add(folder);
  return [...folders].toSorted();
}

/**
 * Writes a package.
 * @param scratch a directory that it may write to
 * @param target the file
 */
export function makePackage(
  pkg: Package,
  packager: Packager,
  { nfpm, scratch, target, source }: { nfpm: string; scratch: string; target: string; source: Source },
): void {
  const mtime = new Date(source.epoch * 1000).toISOString();
  const files = pkg.entries.map((entry) => {
    const dst = `/${entry.path}`;
    if (entry.kind === "link") return { src: entry.to, dst, type: "symlink", file_info: { mtime } };
    return {
      src: put(scratch, join("tree", entry.path), entry.content),
      dst,
      ...(pkg.configuration.has(dst) && { type: "config|noreplace" }),
      file_info: { mode: entry.mode, owner: "root", group: "root", mtime },
    };
  });
  const contents = [
    ...files,
    ...ownFolders(pkg).map((dst) => ({ dst, type: "dir", file_info: { mode: 0o755, mtime } })),
  ];
  const scripts = Object.entries(pkg.scripts?.[packager] ?? {}).map(([when, text]) => [
    when,
    put(scratch, join("scripts", packager, when), text),
  ]);
  const config = put(
    scratch,
    `nfpm-${packager}.yaml`,
    JSON.stringify({
      name: pkg.name,
      arch: pkg.architecture,
      platform: "linux",
      version: pkg.version,
      version_schema: "none",
      release: packager === "rpm" ? "1" : "",
      section: "admin",
      priority: "optional",
      maintainer,
      description: `${pkg.summary}\n${pkg.about}`,
      license: pkg.licence,
      mtime,
      umask: 0o022,
      depends: pkg.depends[packager],
      contents,
      scripts: Object.fromEntries(scripts) as Readonly<Record<string, string>>,
      rpm: { summary: pkg.summary, buildhost: "localhost" },
    }),
  );
  execFileSync(nfpm, ["package", "--config", config, "--packager", packager, "--target", target], {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, SOURCE_DATE_EPOCH: String(source.epoch) },
  });
}
