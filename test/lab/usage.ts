// What a process has taken of the machine, as Linux tells it.
import { existsSync, readFileSync } from "node:fs";

/**
 * Milliseconds of CPU since its start; MiB of resident memory, and how much of it no file backs: pages of the
 * program are shared with whoever runs it too, and how many of them count differs from kernel to kernel. NaN once it
 * has ended.
 */
export type Usage = { readonly cpuMs: number; readonly rssMiB: number; readonly privateMiB: number };

/** /proc counts CPU in ticks of 10 ms and memory in pages of 4 KiB. */
export function usageOf(pid: number): Usage {
  const read = (file: string): string =>
    existsSync(`/proc/${pid}`) ? readFileSync(`/proc/${pid}/${file}`, "utf8") : "";
  const fields = read("stat").split(") ").at(-1)?.split(" ") ?? [];
  const ticks = Number(fields[11]) + Number(fields[12]);
  const privateKiB = /^RssAnon:\s+(\d+) kB$/m.exec(read("status"))?.[1];
  return {
    cpuMs: ticks * 10,
    rssMiB: (Number(fields[21]) * 4096) / 2 ** 20,
    privateMiB: Number(privateKiB ?? Number.NaN) / 2 ** 10,
  };
}
