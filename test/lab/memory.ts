// What lies in a process' memory: all of it, as a core dump would hold it, without writing one.
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { createFinder, type Pattern } from "./finder.ts";
import { freeze } from "./freeze.ts";

const chunkSize = 16 * 1024 * 1024;

/**
 * Stops the process, reads everything that it has mapped and can read, and lets it go on.
 * @param overlap how many bytes of the next piece each piece ends with
 * @param visit given pieces of memory, which are used again
 */
function readMemory(pid: number, overlap: number, visit: (piece: Buffer) => void): number {
  let searched = 0;
  const memory = openSync(`/proc/${pid}/mem`, "r");
  const chunk = Buffer.alloc(chunkSize + overlap);
  freeze(pid);
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, "utf8").trimEnd().split("\n")) {
      const [, from = "", to = "", what = ""] = /^([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ \S+ *(.*)$/.exec(line) ?? [];
      // Of the kernel, not of the process.
      if (from === "" || what.startsWith("[v")) continue;
      const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)];
      for (let at = start; at < end; at += chunkSize) {
        let size: number;
        try {
          size = readSync(memory, chunk, 0, Math.min(chunk.length, end - at), at);
        } catch {
          // Reserved and not there: V8 keeps address space so.
          continue;
        }
        searched += Math.min(size, chunkSize);
        visit(chunk.subarray(0, size));
      }
    }
  } finally {
    closeSync(memory);
    process.kill(pid, "SIGCONT");
  }
  return searched;
}

/**
 * Searches all memory of a process.
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
  const searched = readMemory(pid, overlap, (piece) => {
    // A pattern in the overlap is found again in the next piece; the count need not be exact.
    find(piece, ({ name }) => void found.set(name, (found.get(name) ?? 0) + 1));
  });
  return { found, searched };
}

/** All different texts of ASCII in a process' memory that look so. @param form global, of at most 1,000 characters */
export function textsInMemory(pid: number, form: RegExp): readonly string[] {
  const texts = new Set<string>();
  readMemory(pid, 1000, (piece) => {
    for (const [text] of piece.toString("latin1").matchAll(form)) texts.add(text);
  });
  return [...texts];
}
