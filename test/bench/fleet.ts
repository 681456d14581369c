// A fleet on one machine: clusters with keys of their own, nodes with certificates of their own, real
// gateways, OpenBao and Redis between them. Prints a report in Markdown; nothing passes or fails here.
//   node test/bench/fleet.ts --scenario status|rotation|kill|restart|noisy|growth|sustained|overload|alone|soak [--clusters N] [--nodes M] ...
// Only the shims are simulated: their own code, without sockets, thousands in a process. A real shim has
// all gateways in its configuration (--attach both) and so a connection to each; --attach one lets more
// of them fit under the limit of open files. The defaults are small; what a large fleet asks:
//   --scenario status --clusters 10000 --nodes 3 --statuses 500 --seconds 60 --shims light
//   --scenario rotation --clusters 1000 --nodes 3 --statuses 600 --calls 50
//   --scenario kill --clusters 2500 --nodes 3 --statuses 500 --calls 50 --seconds 180 --svg kill.svg
//   --scenario restart --clusters 100 --nodes 3
//   --scenario noisy --clusters 31 --nodes 3 --calls 300 --statuses 100 --seconds 60
//   --scenario growth --clusters 10000 --nodes 3 --seconds 60 --svg growth.svg
// What goes on for long, or is too much (docs/endurance.md has figures):
//   --scenario sustained --seconds 600
//   --scenario overload --seconds 60
//   --scenario alone --seconds 3600
//   --scenario soak --seconds 1800 --svg soak.svg
import { cpus, loadavg, totalmem } from "node:os";
import { parseArgs } from "node:util";
import type { Settings } from "./fleet/run.ts";
import * as alone from "./fleet/scenarios/alone.ts";
import * as growth from "./fleet/scenarios/growth.ts";
import * as kill from "./fleet/scenarios/kill.ts";
import * as noisy from "./fleet/scenarios/noisy.ts";
import * as overload from "./fleet/scenarios/overload.ts";
import * as restart from "./fleet/scenarios/restart.ts";
import * as rotation from "./fleet/scenarios/rotation.ts";
import * as soak from "./fleet/scenarios/soak.ts";
import * as status from "./fleet/scenarios/status.ts";
import * as sustained from "./fleet/scenarios/sustained.ts";

const scenarios = { status, rotation, kill, restart, noisy, growth, sustained, overload, alone, soak } as const;

const { values } = parseArgs({
  options: {
    scenario: { type: "string", default: "status" },
    clusters: { type: "string" },
    nodes: { type: "string" },
    seconds: { type: "string" },
    statuses: { type: "string" },
    calls: { type: "string" },
    attach: { type: "string" },
    registry: { type: "string" },
    refresh: { type: "string" },
    gateways: { type: "string" },
    shims: { type: "string" },
    simulators: { type: "string" },
    connections: { type: "string" },
    svg: { type: "string" },
  },
});

const common = {
  registry: "file",
  shims: "own",
  refresh: "10s",
  gateways: 2,
  simulators: 0,
  connections: 18_000,
  svg: "",
} as const;

const scenario = scenarios[values.scenario as keyof typeof scenarios];
if (scenario === undefined) throw new Error(`--scenario is one of ${Object.keys(scenarios).join(", ")}`);
const given = Object.fromEntries(Object.entries(values).filter(([name]) => name !== "scenario"));
const defaults: Settings = { ...common, ...scenario.defaults };
const settings = Object.fromEntries(
  Object.entries(defaults).map(([name, value]) => {
    const text = given[name];
    return [name, text === undefined ? value : typeof value === "number" ? Number(text) : text];
  }),
) as Settings;

// The lab's watchdog ends the real parts, and `exit` the simulated shims.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

const began = performance.now();
console.log(`# Fleet: ${values.scenario}\n`);
console.log(
  `\`node test/bench/fleet.ts ${process.argv.slice(2).join(" ")}\` on ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB\n`,
);
await scenario.run(settings);
const loads = loadavg()
  .map((load) => load.toFixed(1))
  .join(", ");
console.log(
  `\nThe run took ${Math.round((performance.now() - began) / 1000)} s; load average of the machine in the last 1, 5 and 15 min: ${loads}.`,
);
