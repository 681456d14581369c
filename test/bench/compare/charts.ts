// The charts of a run: speed, latency, cost.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type BarPanel, writeBars } from "../fleet/bars.ts";
import { medianOf } from "../calls.ts";
import { type Measured, memoryRows, type Row, startRows } from "./goals.ts";
import type { LoadName } from "./loads.ts";
import type { Figures } from "./measure.ts";

const storms = ["64 decrypts", "512 decrypts", "4,096 decrypts", "64 encrypts"] as const;
const idles = ["idle encrypt", "idle decrypt", "idle status"] as const;

function panel(
  title: string,
  sides: readonly Measured[],
  names: readonly LoadName[],
  pick: (figures: Figures) => number,
): BarPanel {
  return {
    title,
    sides: sides.map(({ name }) => name),
    groups: names.map((name) => ({
      name,
      values: sides.map(({ loads }) => medianOf((loads.get(name) ?? []).map(pick))),
    })),
  };
}

/** Of figures that are rows of the table already. */
function rowPanel(title: string, sides: readonly Measured[], named: Readonly<Record<string, Row>>): BarPanel {
  return {
    title,
    sides: sides.map(({ name }) => name),
    groups: Object.entries(named).map(([name, { figure }]) => ({ name, values: sides.map(figure) })),
  };
}

/** @returns the files that were written */
export function writeCharts(dir: string, sides: readonly Measured[]): readonly string[] {
  mkdirSync(dir, { recursive: true });
  const cpuOf = ({ cpuMs }: Figures): number => [...cpuMs.values()].reduce((sum, value) => sum + value, 0);
  const charts: Readonly<Record<string, readonly BarPanel[]>> = {
    "speed.svg": [
      panel("calls a second that were answered in time", sides, storms, ({ perSecond }) => perSecond),
      panel("% of calls lost to the deadline of 3 s", sides, storms, ({ failed, calls }) => (failed / calls) * 100),
    ],
    "latency.svg": [
      panel("one call at a time, p50 in ms", sides, idles, ({ p50 }) => p50),
      panel("storms, p99 in ms of the calls that were answered", sides, storms, ({ p99 }) => p99),
    ],
    "cost.svg": [
      panel("requests to Vault for 1,000 calls", sides, [...idles, ...storms], ({ vaultPer1000 }) => vaultPer1000),
      panel("CPU ms of all servers for each call", sides, [...idles, ...storms], cpuOf),
    ],
    "process.svg": [
      rowPanel("from the start of the process, in ms: plugin, or shim", sides, {
        "first good Status": startRows.status,
        "first good Encrypt": startRows.encrypt,
      }),
      rowPanel("resident memory in MiB: plugin, or shim", sides, {
        "before any load": memoryRows.before,
        "the most after a load": memoryRows.after,
      }),
    ],
  };
  return Object.entries(charts).map(([name, panels]) => {
    writeBars(join(dir, name), panels);
    return join(dir, name);
  });
}
