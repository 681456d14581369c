// What a process has taken of the machine, as Linux tells it.
import { existsSync, readFileSync } from "node:fs";

/** Milliseconds of CPU since its start, MiB of resident memory; NaN once it has ended. */
export type Usage = { readonly cpuMs: number; readonly rssMiB: number };

/** /proc counts CPU in ticks of 10 ms and memory in pages of 4 KiB. */
export function usageOf(pid: number): Usage {
  const fields =
    (existsSync(`/proc/${pid}`) ? readFileSync(`/proc/${pid}/stat`, "utf8") : "").split(") ").at(-1)?.split(" ") ?? [];
  const ticks = Number(fields[11]) + Number(fields[12]);
  return { cpuMs: ticks * 10, rssMiB: (Number(fields[21]) * 4096) / 2 ** 20 };
}
