// Whether a file is as it was when it was read. (docs/architecture.md #registry.)
import { type BigIntStats, statSync } from "node:fs";
import { stat } from "node:fs/promises";

export type FileMark = {
  /** Changes with every edit, but for one within the clock's step of the read. */
  readonly text: string;
  /** The file was edited so shortly ago that its time may not tell the next edit. */
  readonly isRecent: boolean;
};

/** File systems' clocks go in steps of up to two seconds. */
const clockStepMs = 2000;

/** Look before reading: what is edited in between is then read once more. @throws as stat */
export async function markOf(path: string): Promise<FileMark> {
  return markFrom(await stat(path, { bigint: true }));
}

/** The same at once, before anybody is served. @throws as statSync */
export function markNow(path: string): FileMark {
  return markFrom(statSync(path, { bigint: true }));
}

function markFrom({ mtimeNs, ctimeNs, size, ino, mtimeMs }: BigIntStats): FileMark {
  return { text: `${mtimeNs} ${ctimeNs} ${size} ${ino}`, isRecent: Date.now() - Number(mtimeMs) < clockStepMs };
}

/** Is what was read under the one mark what is there under the other? */
export function isSameFile(held: FileMark | undefined, now: FileMark): boolean {
  return held !== undefined && held.text === now.text && !held.isRecent;
}
