// The audit records in the file of a sink, read from its end backwards, and on into the files that it was moved to
// by a rotation, as long as these are not compressed. (docs/control-plane.md #audit.)
import { type FileHandle, open, readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { readLine } from "@claviger/gateway-core/src/audit/chain.ts";
import { codeOf } from "@claviger/proto/runtime/file-problem.ts";
import { refuse } from "../refusal.ts";
import type { AuditRecords, Found, Page } from "./records.ts";

const blockBytes = 2 ** 18;
/** What is read for one page at most; then there is another one. */
const mostBytes = 16 * 2 ** 20;
const newline = 10;

/** Where a search goes on: before this byte of this file, with what comes before this record. */
type Place = { readonly ino: number; readonly end: number; readonly chain: string; readonly sequence: number };

function textOf({ ino, end, chain, sequence }: Place): string {
  return `${ino}.${end}.${chain}.${sequence}`;
}

/** @throws Refusal */
function placeOf(text: string): Place {
  const [, ino, end, chain = "", sequence] =
    /^(\d{1,20})\.(\d{1,15})\.([0-9a-f-]{0,36})\.(-?\d{1,15})$/.exec(text) ?? [];
  if (ino === undefined) throw refuse("invalid_argument", "page_token: is none of this method");
  return { ino: Number(ino), end: Number(end), chain, sequence: Number(sequence) };
}

type File = { readonly path: string; readonly ino: number; readonly size: number };

/** The file and those that it was moved to, newest first, and how many more there are that are compressed. */
async function filesOf(path: string): Promise<{ readonly files: readonly File[]; readonly compressed: number }> {
  const [dir, base] = [dirname(path), basename(path)];
  const names = (await readdir(dir)).filter(
    (name) => name === base || name.startsWith(`${base}.`) || name.startsWith(`${base}-`),
  );
  const isCompressed = (name: string): boolean => /\.(?:gz|xz|zst|bz2)$/.test(name);
  const found = await Promise.all(
    names
      .filter((name) => !isCompressed(name))
      .map(async (name) => {
        try {
          const { ino, size, mtimeMs } = await stat(join(dir, name));
          return [{ path: join(dir, name), ino, size, at: name === base ? Number.POSITIVE_INFINITY : mtimeMs }];
        } catch (error) {
          if (codeOf(error) === "ENOENT") return [];
          throw error;
        }
      }),
  );
  return { files: found.flat().toSorted((a, b) => b.at - a.at), compressed: names.filter(isCompressed).length };
}

/** The lines before a byte of a file, the last first, each with where it begins. What is no whole line is left out. */
async function* linesBefore(
  handle: FileHandle,
  end: number,
): AsyncGenerator<{ readonly start: number; readonly line: Buffer }> {
  /** What stands before the first newline of what was read so far, and where that begins. */
  let rest = Buffer.alloc(0);
  let at = end;
  while (at > 0) {
    const length = Math.min(blockBytes, at);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, at - length);
    if (bytesRead < length) return;
    at -= length;
    const all = Buffer.concat([buffer, rest]);
    let stop = all.length;
    for (let i = all.lastIndexOf(newline, stop - 1); i !== -1; i = i === 0 ? -1 : all.lastIndexOf(newline, i - 1)) {
      if (i + 1 < stop) yield { start: at + i + 1, line: all.subarray(i + 1, stop) };
      stop = i;
    }
    rest = all.subarray(0, stop);
  }
  if (rest.length > 0) yield { start: 0, line: rest };
}

/** Where the last whole line of a file ends. */
async function endOfLines(handle: FileHandle, size: number): Promise<number> {
  for (let end = size; end > 0; ) {
    const length = Math.min(blockBytes, end);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, end - length);
    const i = buffer.subarray(0, bytesRead).lastIndexOf(newline);
    if (i !== -1) return end - length + i;
    end -= length;
  }
  return 0;
}

export function createFileRecords(path: string): AuditRecords {
  return {
    file: path,
    async page({ isWanted, isOver, size, from }): Promise<Page> {
      const { files, compressed } = await filesOf(path);
      const incomplete =
        compressed === 0
          ? ""
          : `${compressed} compressed files beside ${path} are not looked at; use 'claviger audit search'`;
      const begun = from === "" ? undefined : placeOf(from);
      const first = begun === undefined ? 0 : files.findIndex(({ ino }) => ino === begun.ino);
      if (first === -1) throw refuse("aborted", "page_token: the file that it is of is gone; begin again");
      const found: Found[] = [];
      let [chain, sequence] = [begun?.chain ?? "", begun?.sequence ?? -1];
      let left = mostBytes;
      for (const [i, file] of files.slice(first).entries()) {
        await using handle = await open(file.path, "r");
        const end = i === 0 && begun !== undefined ? begun.end : await endOfLines(handle, file.size);
        for await (const { start, line } of linesBefore(handle, end)) {
          left -= line.length + 1;
          const read = readLine(line);
          if (typeof read === "string") continue;
          const { time, ...record } = read.record;
          // A file may begin with what stands at the end of the one before as well.
          if (record.chain === chain && sequence !== -1 && record.sequence >= sequence) continue;
          [chain, sequence] = [record.chain, record.sequence];
          const one: Found = { ...record, at: Date.parse(time) };
          if (isOver(one)) return { found, next: "", incomplete };
          if (isWanted(one)) found.push(one);
          // Its own newline ends the line before.
          const next = textOf({ ino: file.ino, end: Math.max(0, start - 1), chain, sequence });
          if (found.length >= size || left <= 0) return { found, next, incomplete };
        }
      }
      return { found, next: "", incomplete };
    },
  };
}
