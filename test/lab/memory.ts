// What lies in a process' memory: all of it, as a core dump would hold it, without writing one.
import { closeSync, openSync, readFileSync, readSync } from "node:fs";

export type Pattern = { readonly name: string; readonly bytes: Uint8Array };

const chunkSize = 16 * 1024 * 1024;
const prefixSize = 3;

/** Finds many patterns at once: what does not begin like one of them costs a look into a table. */
function createFinder(patterns: readonly Pattern[]) {
  const begins = new Uint8Array(1 << (8 * prefixSize));
  const byPrefix = new Map<number, Pattern[]>();
  const prefixAt = (bytes: Uint8Array, at: number): number =>
    ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
  for (const pattern of patterns) {
    const prefix = prefixAt(pattern.bytes, 0);
    begins[prefix] = 1;
    byPrefix.set(prefix, [...(byPrefix.get(prefix) ?? []), pattern]);
  }
  return (chunk: Buffer, found: (pattern: Pattern) => void): void => {
    for (let at = 0; at < chunk.length - prefixSize; at++) {
      const prefix = prefixAt(chunk, at);
      if (begins[prefix] === 0) continue;
      for (const pattern of byPrefix.get(prefix) ?? [])
        if (chunk.subarray(at, at + pattern.bytes.length).equals(pattern.bytes)) found(pattern);
    }
  };
}

/**
 * Stops the process, searches everything that it has mapped and can read, and lets it go on.
 * @param patterns of 4 to 1,000 bytes
 * @returns how often each name was found, and how many bytes were searched
 */
export function searchMemory(
  pid: number,
  patterns: readonly Pattern[],
): { readonly found: ReadonlyMap<string, number>; readonly searched: number } {
  const find = createFinder(patterns);
  const overlap = Math.max(...patterns.map(({ bytes }) => bytes.length)) - 1;
  const found = new Map<string, number>();
  let searched = 0;
  const memory = openSync(`/proc/${pid}/mem`, "r");
  process.kill(pid, "SIGSTOP");
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, "utf8").trimEnd().split("\n")) {
      const [, from = "", to = "", what = ""] = /^([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ \S+ *(.*)$/.exec(line) ?? [];
      // Of the kernel, not of the process.
      if (from === "" || what.startsWith("[v")) continue;
      const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)];
      for (let at = start; at < end; at += chunkSize) {
        const chunk = Buffer.alloc(Math.min(chunkSize + overlap, end - at));
        let size: number;
        try {
          size = readSync(memory, chunk, 0, chunk.length, at);
        } catch {
          // Reserved and not there: V8 keeps address space so.
          continue;
        }
        searched += Math.min(size, chunkSize);
        // A pattern in the overlap is found again in the next chunk; the count need not be exact.
        find(chunk.subarray(0, size), ({ name }) => void found.set(name, (found.get(name) ?? 0) + 1));
      }
    }
  } finally {
    closeSync(memory);
    process.kill(pid, "SIGCONT");
  }
  return { found, searched };
}
