// This checkout against an earlier commit, in the same run and in turn: `node test/bench/versus.ts
// [--base COMMIT] [--rounds N] [--seconds N] [--only WORDS]`. Both run from their bundles, each with the flags of
// its image, a gateway, an OpenBao and a Redis of its own. Nothing passes or
// fails here: the table has medians and ratios.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { type Lab, startLab } from "../lab/lab.ts";
import { readyLine } from "../lab/process-group.ts";
import { usageOf } from "../lab/usage.ts";
import { installBinaries } from "../parts/install.ts";
import { type Bodies, benchRequestsPerSecond, type LoadResult, medianOf, runLoad, writeBodies } from "./calls.ts";
import { type Load, loads } from "./compare/loads.ts";
import { shippedFlags } from "./shipped.ts";

const root = join(import.meta.dirname, "..", "..");
const corpusSize = 4096;

const { values } = parseArgs({
  options: {
    base: { type: "string", default: "aa56adb" },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "5" },
    // Loads whose name has these words.
    only: { type: "string", default: "" },
  },
});
const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)];

type Side = { readonly name: string; readonly lab: Lab; readonly bodies: Bodies };

type Figures = LoadResult & { readonly shimCpuMs: number; readonly gatewayCpuMs: number; readonly shimRssMiB: number };

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Builds the bundles of a checkout. */
function build(checkout: string, out: string): string {
  execFileSync(process.execPath, [join(checkout, "infra", "build.ts"), "--outdir", out], { cwd: checkout });
  return out;
}

/** Starts what a checkout ships, from its bundles. */
async function startSide(name: string, checkout: string, dist: string): Promise<Side> {
  const dir = mkdtempSync(join(tmpdir(), "versus-"));
  const node = process.execPath;
  const lab = await startLab({
    dir,
    redis: false,
    requestsPerSecond: benchRequestsPerSecond,
    // 0.1.0 knows no such setting.
    ...(name !== "now" && { gatewayExtra: { integrity: undefined } }),
    programs: {
      gateway: [node, ...shippedFlags("claviger-gateway", checkout), join(dist, "claviger-gateway.mjs")],
      shim: [node, ...shippedFlags("claviger-shim", checkout), join(dist, "claviger-shim.mjs")],
    },
  });
  return { name, lab, bodies: await writeBodies(lab.shims[0]?.socket ?? "", dir, corpusSize) };
}

async function measure({ lab, bodies }: Side, { method, concurrency }: Load): Promise<Figures> {
  const [shim, gateway] = [lab.shims[0], lab.gateways[0]];
  if (shim === undefined || gateway === undefined) throw new TypeError("an empty lab");
  const before = [usageOf(shim.proc.pid), usageOf(gateway.proc.pid)] as const;
  const { socket } = shim;
  const result = await runLoad({ socket, path: methods[method], bodies: bodies[method], concurrency, seconds });
  const after = [usageOf(shim.proc.pid), usageOf(gateway.proc.pid)] as const;
  if (!Number.isFinite(after[0].cpuMs)) {
    say("  the shim has ended, and is started again");
    const proc = await lab.processes.restart(shim.proc);
    await readyLine(proc);
    lab.shims[0] = { ...shim, proc };
  }
  return {
    ...result,
    shimCpuMs: (after[0].cpuMs - before[0].cpuMs) / result.calls,
    gatewayCpuMs: (after[1].cpuMs - before[1].cpuMs) / result.calls,
    shimRssMiB: after[0].rssMiB,
  };
}

function lineOf(name: string, base: readonly Figures[], now: readonly Figures[]): string {
  const cell = (pick: (figures: Figures) => number, digits: number): string => {
    const [a, b] = [medianOf(base.map(pick)), medianOf(now.map(pick))];
    return `${a.toFixed(digits)} → ${b.toFixed(digits)} (${!(a > 0) || !(b > 0) ? "-" : (b / a).toFixed(2)})`;
  };
  const lost = (figures: readonly Figures[]): string =>
    `${((figures.reduce((sum, { failed }) => sum + failed, 0) / figures.reduce((sum, { calls }) => sum + calls, 0)) * 100).toFixed(2)} %`;
  const cells = [
    cell((one) => one.perSecond, 0),
    cell((one) => one.p50, 2),
    cell((one) => one.p99, 1),
    `${lost(base)} → ${lost(now)}`,
    cell((one) => one.shimCpuMs + one.gatewayCpuMs, 3),
    cell((one) => one.shimRssMiB, 0),
  ];
  return `| ${[name, ...cells].join(" | ")} |`;
}

const temporary = mkdtempSync(join(tmpdir(), "versus-base-"));
const checkout = join(temporary, "checkout");
const sides: Side[] = [];
try {
  await installBinaries();
  say(`building ${values.base} and this checkout ...`);
  execFileSync("git", ["worktree", "add", "--detach", "--quiet", checkout, values.base], { cwd: root });
  execFileSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], { cwd: checkout });
  const bundles = [build(checkout, join(temporary, "base")), build(root, join(temporary, "now"))];
  for (const [i, dist] of bundles.entries())
    sides.push(await (i === 0 ? startSide(values.base, checkout, dist) : startSide("now", root, dist)));
  console.log(`| load | calls/s | p50 ms | p99 ms | lost | CPU ms a call, shim and gateway | shim RSS MiB |`);
  console.log("|---|---|---|---|---|---|---|");
  for (const row of loads.filter(({ name }) => name.includes(values.only))) {
    const figures: Figures[][] = sides.map(() => []);
    for (let round = 0; round < rounds; round++)
      for (const [i, side] of sides.entries()) {
        say(`  ${row.name}, ${side.name}, round ${round + 1} of ${rounds} ...`);
        figures[i]?.push(await measure(side, row));
      }
    console.log(lineOf(row.name, figures[0] ?? [], figures[1] ?? []));
  }
} finally {
  for (const { lab } of sides) {
    await lab.stop();
    rmSync(lab.dir, { recursive: true, force: true });
  }
  execFileSync("git", ["worktree", "remove", "--force", checkout], { cwd: root });
  rmSync(temporary, { recursive: true, force: true });
}
