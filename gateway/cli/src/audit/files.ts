// Audit files, line by line: as they are, or compressed by a log rotation.
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { readLine } from "@claviger/gateway-core/src/audit/chain.ts";
import { lastRecord } from "@claviger/gateway-core/src/audit/file-sink.ts";
import { CliError } from "../commander.ts";
import { fileProblem } from "@claviger/proto/runtime/file-problem.ts";

/** A record is a few hundred bytes, that of a batch some twenty thousand. */
const maxLineBytes = 16 * 2 ** 20;

/** The file cannot be read to its end, because of what is in it. */
export class BrokenFile extends Error {
  override readonly name = "BrokenFile";
}

function cannotRead(file: string, error: unknown): CliError {
  return new CliError(`${file} cannot be read (${fileProblem(error)})`);
}

/** By its first bytes, whatever its name. @throws CliError */
async function isGzip(file: string): Promise<boolean> {
  try {
    await using handle = await open(file, "r");
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(2), 0, 2, 0);
    return bytesRead === 2 && buffer.readUInt16BE() === 0x1f8b;
  } catch (error) {
    throw cannotRead(file, error);
  }
}

async function openBytes(file: string, end: number): Promise<Readable> {
  const isCompressed = await isGzip(file);
  const bytes = createReadStream(file, { highWaterMark: 2 ** 18, end: end - 1 });
  if (!isCompressed) return bytes;
  const plain = createGunzip({ chunkSize: 2 ** 18 });
  bytes.on("error", (error) => plain.destroy(error));
  return bytes.pipe(plain);
}

/**
 * The lines of a file without their newlines, many at a time. What stands after the last newline is
 * a line, too.
 * @param end reads so many bytes, more than none, of the file as it is on the disk
 * @throws CliError when it cannot be read; BrokenFile when it is compressed and its data ends early
 * or is wrong, or when a line does not end
 */
export async function* readLines(file: string, end = Number.POSITIVE_INFINITY): AsyncGenerator<readonly Buffer[]> {
  let rest = Buffer.alloc(0);
  const bytes = await openBytes(file, end);
  try {
    for await (const chunk of bytes) {
      const all = Buffer.concat([rest, chunk as Buffer]);
      const lines: Buffer[] = [];
      let start = 0;
      for (let at = all.indexOf(10); at !== -1; at = all.indexOf(10, start)) {
        lines.push(all.subarray(start, at));
        start = at + 1;
      }
      rest = all.subarray(start);
      if (rest.length > maxLineBytes) throw new BrokenFile("has a line that does not end");
      yield lines;
    }
  } catch (error) {
    if (error instanceof BrokenFile) throw error;
    const { code = "" } = error as NodeJS.ErrnoException;
    if (code === "Z_BUF_ERROR") throw new BrokenFile("is compressed and ends in the middle");
    if (code.startsWith("Z_")) throw new BrokenFile("is compressed, and its data is wrong from here on");
    throw cannotRead(file, error);
  } finally {
    bytes.destroy();
  }
  if (rest.length > 0) yield [rest];
}

/** Where the line begins that is being written at the end of a file, in bytes. @throws CliError */
export async function endOfLines(file: string): Promise<number> {
  try {
    await using handle = await open(file, "r");
    const { size } = await handle.stat();
    for (let end = size; end > 0; ) {
      const start = Math.max(0, end - 2 ** 16);
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(end - start), 0, end - start, start);
      const at = buffer.subarray(0, bytesRead).lastIndexOf(10);
      if (at !== -1) return start + at + 1;
      end = start;
    }
    return 0;
  } catch (error) {
    throw cannotRead(file, error);
  }
}

type End = { readonly chain: string; readonly sequence: number; readonly time: string };

/** The last record of a file; undefined where it has none. */
async function endOf(file: string): Promise<End | undefined> {
  if (!(await isGzip(file))) return (await lastRecord(file))?.record;
  let end: End | undefined;
  try {
    for await (const lines of readLines(file))
      for (const bytes of lines.toReversed()) {
        const line = readLine(bytes);
        if (typeof line === "string") continue;
        end = line.record;
        break;
      }
  } catch (error) {
    if (!(error instanceof BrokenFile)) throw error;
  }
  return end;
}

/**
 * The files in the order in which they were written, so that a shell's `audit.jsonl*` will do. By
 * their ends: a file may begin with what stands in the one before as well.
 * @throws CliError when one cannot be read or is named twice
 */
export async function inOrder(files: readonly string[]): Promise<readonly string[]> {
  const twice = files.find((file, i) => files.indexOf(file) !== i);
  if (twice !== undefined) throw new CliError(`${twice} is named twice`);
  const ends = await Promise.all(files.map(async (file) => ({ file, end: await endOf(file) })));
  // Times are those of requests and no order within a chain; numbers are.
  const begun = new Map<string, string>();
  for (const { end } of ends)
    if (end !== undefined && end.time < (begun.get(end.chain) ?? "~")) begun.set(end.chain, end.time);
  const keyOf = ({ end }: (typeof ends)[number]): readonly [string, number] =>
    end === undefined ? ["", 0] : [`${begun.get(end.chain) ?? ""} ${end.chain}`, end.sequence];
  return ends
    .map((one) => ({ file: one.file, key: keyOf(one) }))
    .toSorted(({ key: a }, { key: b }) => (a[0] === b[0] ? a[1] - b[1] : a[0] < b[0] ? -1 : 1))
    .map(({ file }) => file);
}
