// The only file that imports tar-stream: trees in memory to tar archives and back. The same tree and
// time give the same bytes.
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { createGunzip } from "node:zlib";
import { extract, pack } from "tar-stream";

/** What stands in a tree. Paths have no `/` at either end. */
export type Entry =
  | { readonly kind: "file"; readonly path: string; readonly mode: number; readonly content: Buffer }
  | { readonly kind: "link"; readonly path: string; readonly to: string };

/** A file that everybody may read. */
export function file(path: string, content: Buffer | string, mode = 0o644): Entry {
  return { kind: "file", path, mode, content: Buffer.isBuffer(content) ? content : Buffer.from(content) };
}

/** The directories above the entries. */
function foldersOf(entries: readonly Entry[]): readonly string[] {
  const folders = new Set<string>();
  for (const { path } of entries) {
    const words = path.split("/");
    for (let i = 1; i < words.length; i++) folders.add(words.slice(0, i).join("/"));
  }
  return [...folders];
}

/**
 * An archive of root's, its folders included, sorted by path.
 * @param epoch seconds since 1970: the time of everything in it
 */
export async function tarOf(entries: readonly Entry[], epoch: number): Promise<Buffer> {
  const archive = pack();
  const common = { uid: 0, gid: 0, mtime: new Date(epoch * 1000) };
  const all = [...foldersOf(entries).map((path) => ({ kind: "folder", path }) as const), ...entries].toSorted((a, b) =>
    a.path < b.path ? -1 : 1,
  );
  const whole = buffer(archive);
  for (const entry of all)
    await new Promise<void>((resolve, reject) => {
      const done = (error?: Error | null): void => (error ? reject(error) : resolve());
      switch (entry.kind) {
        case "folder":
          archive.entry({ ...common, name: `${entry.path}/`, type: "directory", mode: 0o755 }, done);
          break;
        case "link":
          archive.entry({ ...common, name: entry.path, type: "symlink", linkname: entry.to, mode: 0o777 }, done);
          break;
        case "file":
          archive.entry({ ...common, name: entry.path, mode: entry.mode }, entry.content, done);
          break;
      }
    });
  archive.finalize();
  return whole;
}

/**
 * The regular files of an archive whose paths are asked for, by path without a leading `./`.
 * @param isGzip whether it is compressed
 */
export async function filesOfTar(
  archive: Buffer,
  { isGzip, wanted }: { readonly isGzip: boolean; readonly wanted: (path: string) => boolean },
): Promise<ReadonlyMap<string, Buffer>> {
  const reader = extract();
  const files = new Map<string, Buffer>();
  const source = Readable.from([archive]);
  (isGzip ? source.pipe(createGunzip()) : source).pipe(reader);
  for await (const entry of reader) {
    const path = entry.header.name.replace(/^\.\//, "");
    if (entry.header.type === "file" && wanted(path)) files.set(path, await buffer(entry));
    else entry.resume();
  }
  return files;
}
