// What was measured, in Markdown. Text alone; nothing is measured here.
import { execFileSync } from "node:child_process";
import { cpus, loadavg, release, totalmem } from "node:os";
import { findBinary } from "../../parts/find.ts";
import { medianOf } from "../calls.ts";
import { shown, tableOf } from "../fleet/figures.ts";
import { gatewayRows, type Measured, rows } from "./goals.ts";
import { loads } from "./loads.ts";
import type { Part } from "./sides.ts";

/** The machine and what runs on it, one line each. */
export function machineOf(limits: string): readonly string[] {
  const all = cpus();
  const version = execFileSync(findBinary("bao"), ["version"], { encoding: "utf8" }).trim();
  return [
    `* ${all.length} cores (${all[0]?.model.trim() || "of unknown make"}), ${shown(totalmem() / 2 ** 30, 1)} GiB, Linux ${release()}; load client, plugins and OpenBao share them`,
    `* load average at the start: ${loadavg()
      .map((load) => shown(load, 1))
      .join(", ")}`,
    `* Node.js ${process.versions.node}; ${version}, one node each: raft, a file audit device, plain HTTP`,
    `* shim and gateway: bundles with a compile cache and the flags of their images; ${limits}; audit into a file`,
  ];
}

function ratioOf(base: number, ours: number): string {
  const ratio = ours / base;
  return base > 0 && Number.isFinite(ratio) ? shown(ratio, 2) : "-";
}

/**
 * The table of goals. A ratio is what Claviger has divided by what the side has.
 * @param others sides beside the direct plugin and Claviger
 */
export function goalTable(direct: Measured, ours: Measured, others: readonly Measured[]): string {
  const heads = ["load, figure", "direct", "Claviger", "ratio", "goal", "met"];
  const more = others.flatMap(({ name }) => [name, `ratio to ${name}`]);
  const lines = rows.map(({ name, figure, digits, goal }) => {
    const [theirs, own] = [figure(direct), figure(ours)];
    const met = goal === undefined ? "" : goal.isMet(theirs, own) ? "yes" : "**no**";
    return [
      name,
      shown(theirs, digits),
      shown(own, digits),
      ratioOf(theirs, own),
      goal?.text ?? "",
      met,
      ...others.flatMap((other) => [shown(figure(other), digits), ratioOf(figure(other), own)]),
    ];
  });
  return tableOf([...heads, ...more], lines);
}

/** What a call of each load costs each process, in milliseconds of CPU, and Vault, in requests. */
export function costTable(sides: readonly Measured[]): string {
  const columns = sides.flatMap((side) => [...side.idle.keys()].map((part): readonly [Measured, Part] => [side, part]));
  const heads = ["load", ...sides.map(({ name }) => `Vault requests per 1,000: ${name}`)];
  const lines = loads.map(({ name }) => {
    const requests = sides.map((side) => medianOf((side.loads.get(name) ?? []).map((one) => one.vaultPer1000)));
    const cpu = columns.map(([side, part]) =>
      medianOf((side.loads.get(name) ?? []).map(({ cpuMs }) => cpuMs.get(part) ?? Number.NaN)),
    );
    return [name, ...requests.map((value) => shown(value)), ...cpu.map((value) => shown(value, 3))];
  });
  return tableOf([...heads, ...columns.map(([{ name }, part]) => `CPU ms: ${name}, ${part}`)], lines);
}

export function gatewayTable(ours: Measured): string {
  return tableOf(
    ["gateway", "Claviger"],
    gatewayRows.map(({ name, figure, digits }) => [name, shown(figure(ours), digits)]),
  );
}
