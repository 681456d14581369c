// Audit records in a file that somebody else rotates while they are written: by rename, by rename and
// compression at once, or by copying and truncating. None of them loses a record.
//
// Renamed: each write is followed by a look at the path. While the file is still there, whoever moves
// and compresses it later finds the write in it. When it is not, nobody knows, and the same lines are
// written again to the file that is there now.
//
// Truncated: what was written after the copy was made is lost with the truncation, so what was
// written in the last seconds is kept in memory and written again.
//
// Lines that are repeated stand at the beginning of a file and are the very lines that stand at the
// end of the one before; `claviger audit verify` counts them as one. (docs/architecture.md #audit.)
import { type FileHandle, open, stat } from "node:fs/promises";
import { type ReadLine, readLine } from "./chain.ts";
import type { AuditSink } from "./port.ts";
import type { ChainHead } from "./record.ts";

/** For so long a copy may be under way before its original is truncated, in milliseconds. */
const keepMs = 10_000;
/** And at most so many bytes of lines are kept. */
const keepBytes = 8 * 2 ** 20;
/**
 * Between two looks for a truncation while nothing is written. A look that is newer need not be
 * repeated before a write: the one after it decides.
 */
const idleMs = 1000;
/** How often in a row a file may be moved away under a write. */
const maxTries = 5;
/** More than the longest record. */
const tailBytes = 4 * 2 ** 20;

type Opened = {
  readonly handle: FileHandle;
  readonly ino: number;
  readonly dev: number;
  /** What the file had when it was looked at last, in bytes. */
  size: number;
  /** performance.now() of that look. */
  at: number;
};

const newline = Buffer.from("\n");

/** The last bytes of a file that is there and may be read; else nothing. */
async function tailOf(path: string, bytes: number): Promise<Buffer> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, "r");
    const stats = await handle.stat();
    if (!stats.isFile()) return Buffer.alloc(0);
    const length = Math.min(stats.size, bytes);
    const buffer = Buffer.alloc(length);
    const { bytesRead } = await handle.read(buffer, 0, length, stats.size - length);
    return buffer.subarray(0, bytesRead);
  } catch {
    return Buffer.alloc(0);
  } finally {
    await handle?.close();
  }
}

/** The last whole record in a file; undefined where there is none. */
export async function lastRecord(path: string): Promise<ReadLine | undefined> {
  const tail = await tailOf(path, tailBytes);
  for (let end = tail.length; end > 0; ) {
    const start = tail.lastIndexOf(newline, end - 1) + 1;
    const line = readLine(tail.subarray(start, end));
    if (typeof line === "object") return line;
    end = start - 1;
  }
  return undefined;
}

/** What was written in the last seconds. */
function createRecent() {
  const kept: { readonly lines: Buffer; readonly at: number }[] = [];
  let bytes = 0;
  /** The first that is kept; what stands before it is cut off now and then. */
  let first = 0;
  const prune = (): void => {
    const since = performance.now() - keepMs;
    for (let one = kept[first]; one !== undefined && (one.at < since || bytes > keepBytes); one = kept[first]) {
      bytes -= one.lines.length;
      first += 1;
    }
    // Each is moved once at most, on average.
    if (first <= kept.length / 2) return;
    kept.splice(0, first);
    first = 0;
  };
  return {
    add(lines: Buffer): void {
      kept.push({ lines, at: performance.now() });
      bytes += lines.length;
      prune();
    },
    lines(): readonly Buffer[] {
      prune();
      return kept.slice(first).map(({ lines }) => lines);
    },
  };
}

/**
 * Appends to a file of mode 0600, and makes it when it is missing.
 * @param fsync whether a write is taken only once it is on the disk
 */
export function createFileSink({ path, fsync }: { readonly path: string; readonly fsync: boolean }): AuditSink {
  const recent = createRecent();
  let file: Opened | undefined;
  let isTorn = false;
  let timer: NodeJS.Timeout | undefined;
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const result = turn.then(act, act);
    turn = result.catch(() => {});
    return result;
  };

  const release = async (): Promise<void> => {
    const old = file;
    file = undefined;
    await old?.handle.close();
  };
  const opened = async (): Promise<Opened> => {
    if (file !== undefined) return file;
    const handle = await open(path, "a", 0o600);
    const { ino, dev, size } = await handle.stat();
    // A process that ended in the middle of a write left a fragment: it gets a line of its own.
    isTorn = ![undefined, newline[0]].includes((await tailOf(path, 1))[0]);
    file = { handle, ino, dev, size, at: performance.now() };
    return file;
  };
  /** What has become of the file, which had at least so many bytes. */
  const look = async (at: Opened, least: number): Promise<"kept" | "moved" | "truncated"> => {
    const there = await stat(path).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    });
    if (there?.ino !== at.ino || there.dev !== at.dev) return "moved";
    at.at = performance.now();
    at.size = there.size;
    return there.isFile() && there.size < least ? "truncated" : "kept";
  };
  const append = async ({ handle }: Opened, lines: readonly Buffer[]): Promise<number> => {
    const bytes = Buffer.concat(isTorn ? [newline, ...lines] : lines);
    isTorn = true;
    for (let at = 0; at < bytes.length; ) at += (await handle.write(bytes, at)).bytesWritten;
    if (fsync) await handle.datasync();
    isTorn = false;
    return bytes.length;
  };
  /** Resolves when the lines are in the file that has the path, after the recent ones where it was truncated. */
  const put = async (lines: readonly Buffer[], wasTruncated = false): Promise<void> => {
    const all = (): readonly Buffer[] => [...recent.lines(), ...lines];
    let wanted = wasTruncated ? all() : lines;
    for (let tries = 0; tries < maxTries; tries++) {
      const at = await opened();
      if (performance.now() - at.at > idleMs) {
        const found = await look(at, at.size);
        if (found === "moved") {
          await release();
          continue;
        }
        if (found === "truncated") [wanted, isTorn] = [all(), false];
      }
      const written = await append(at, wanted);
      const found = await look(at, at.size + written);
      if (found === "kept") return;
      if (found === "moved") await release();
      else {
        // Truncated since the last look. If these lines came after it, they are all that is there;
        // what was lost belongs before them.
        if (at.size <= written) await at.handle.truncate(0);
        [wanted, at.size, isTorn] = [all(), 0, false];
      }
    }
    throw new Error(`${path} was moved away or truncated ${maxTries} times while it was written`);
  };
  const watch = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined;
      // What goes wrong here shows at the next write.
      inTurn(check).catch(() => {});
    }, idleMs).unref();
  };
  /** Looks whether the file was truncated or moved while nothing was written. */
  const check = async (): Promise<void> => {
    if (file === undefined) return;
    const found = await look(file, file.size);
    if (found === "moved") await release();
    const isRecent = recent.lines().length > 0;
    if (found === "truncated" && isRecent) await put([], true);
    if (isRecent) watch();
  };
  return {
    name: `file ${path}`,
    write: (lines) =>
      inTurn(async () => {
        await put([lines]);
        recent.add(lines);
        watch();
      }),
    reopen: () =>
      inTurn(async () => {
        await check();
        await release();
        await opened();
      }),
    last: async (): Promise<ChainHead | undefined> => {
      const line = await lastRecord(path);
      return line && { chain: line.record.chain, sequence: line.record.sequence, hash: line.hash };
    },
    close: () =>
      inTurn(async () => {
        clearTimeout(timer);
        await check();
        clearTimeout(timer);
        await release();
      }),
  };
}
