// What a release takes from elsewhere, as files that are there already and were checked:
// test/parts/release.ts gets them.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { type Architecture, libraryPackages, libraryPlaces } from "./pins.ts";
import { file, filesOfTar, type Entry } from "./tar.ts";

export type Parts = {
  /** The program. */
  readonly nfpm: string;
  /** The archives of npm with Node.js. */
  readonly node: Readonly<Record<Architecture, string>>;
  /** Packages of Debian, by name. */
  readonly libraries: Readonly<Record<Architecture, ReadonlyMap<string, string>>>;
};

type NodeFiles = { readonly binary: Buffer; readonly licence: Buffer };
const read = new Map<string, Promise<NodeFiles>>();

async function readNode(archive: string): Promise<NodeFiles> {
  const wanted = new Set(["package/bin/node", "package/LICENSE"]);
  const files = await filesOfTar(readFileSync(archive), { isGzip: true, wanted: (path) => wanted.has(path) });
  const [binary, licence] = ["package/bin/node", "package/LICENSE"].map((path) => files.get(path));
  if (binary === undefined || licence === undefined) throw new Error(`${archive} has no bin/node or no LICENSE`);
  return { binary, licence };
}

/** The binary of Node.js and its licence; each archive is read once. @throws Error where it lacks one */
export function nodeFiles(archive: string): Promise<NodeFiles> {
  const known = read.get(archive) ?? readNode(archive);
  read.set(archive, known);
  return known;
}

/** The libraries that Node.js loads, and their licences. @throws Error where a package lacks one */
export async function libraryEntries(architecture: Architecture, { libraries }: Parts): Promise<readonly Entry[]> {
  const { folder, loader, link } = libraryPlaces[architecture];
  const entries: Entry[] = [{ kind: "link", ...link }];
  for (const { name, files } of libraryPackages) {
    const deb = libraries[architecture].get(name);
    if (deb === undefined) throw new TypeError(`${name} was not fetched`);
    const archive = execFileSync("dpkg-deb", ["--fsys-tarfile", deb], { maxBuffer: 2 ** 28 });
    // libstdc++.so.6 is a link to libstdc++.so.6.0.30.
    const isOf = (path: string, library: string): boolean =>
      path === `lib/${folder}/${library}` || path.startsWith(`usr/lib/${folder}/${library}`);
    const all = [...files, ...(name === "libc6" ? [loader] : [])];
    const copyright = `usr/share/doc/${name}/copyright`;
    const found = await filesOfTar(archive, {
      isGzip: false,
      wanted: (path) => path === copyright || all.some((library) => isOf(path, library)),
    });
    for (const library of all) {
      const [, content] = [...found].find(([path]) => isOf(path, library)) ?? [];
      if (content === undefined) throw new Error(`${deb} has no ${library}`);
      entries.push(file(`lib/${folder}/${library}`, content, 0o755));
    }
    // Those of libgcc-s1 and libstdc++6 are links to that of gcc-12-base.
    const text = found.get(copyright);
    if (text !== undefined) entries.push(file(copyright, text));
  }
  return entries;
}
