// Mixed load for long, with all that goes on meanwhile in a fleet: keys are rotated, tokens renewed,
// gateways and shims started again one after the other. Does anything fail, and does memory grow?
import { setTimeout as sleep } from "node:timers/promises";
import { readyLine } from "../../../lab/process-group.ts";
import { transitMount } from "../../../lab/openbao.ts";
import { usageOf } from "../../../lab/usage.ts";
import { shown, tableOf } from "../figures.ts";
import { writePicture } from "../picture.ts";
import type { Failure } from "../protocol.ts";
import { connect, failuresOf, type Fleet, say, type Settings, withFleet } from "../run.ts";
import { slopeOf, type Point } from "../slope.ts";
import { type SoakShim, startSoakShim } from "../soak-shims.ts";

export const defaults = { clusters: 10, nodes: 3, seconds: 1800, statuses: 30, calls: 200, attach: "both" } as const;

const perShim = 20;
/** A token lives so long, and is renewed at two thirds. */
const tokenTtl = "60s";

type Life = { readonly name: string; readonly points: Point[] };

/** A look at the memory of each process, five hundred in all; a process that is started again is another one. */
async function watch({ world }: Fleet, shims: readonly SoakShim[], everyMs: number, signal: AbortSignal) {
  const lives = new Map<number, Life>();
  const began = performance.now();
  for (; !signal.aborted; await sleep(everyMs, undefined, { signal }).catch(() => {})) {
    const parts = [
      ...world.gateways.map(({ name, proc }) => [name, proc.pid] as const),
      ...shims.map(({ name, proc }) => [name, proc().pid] as const),
      ["OpenBao", world.bao.proc().pid] as const,
      ["Redis", world.redis.proc().pid] as const,
    ];
    for (const [name, pid] of parts) {
      const { rssMiB } = usageOf(pid);
      if (!Number.isFinite(rssMiB)) continue;
      const life = lives.get(pid) ?? { name, points: [] };
      life.points.push([(performance.now() - began) / 1000, rssMiB]);
      lives.set(pid, life);
    }
  }
  return [...lives.values()];
}

async function restartGateway({ world }: Fleet, i: number): Promise<void> {
  const gateway = world.gateways[i];
  if (gateway === undefined) throw new TypeError("no such gateway");
  const proc = await world.processes.restart(gateway.proc, 30_000);
  world.gateways[i] = { ...gateway, proc };
  await readyLine(proc);
}

async function rotateAll({ world: { bao, clusters } }: Fleet): Promise<void> {
  for (const cluster of clusters) await bao.call("POST", `${transitMount}/keys/${cluster}/rotate`);
}

function report(lives: readonly Life[], svg: string): void {
  const names = [...new Set(lives.map(({ name }) => name))];
  const rows = lives.map(({ name, points }) => {
    const first = points[0]?.[0] ?? 0;
    const last = points.at(-1)?.[0] ?? 0;
    const { perHour, from } = slopeOf(points);
    const most = Math.max(...points.map(([, mebibytes]) => mebibytes));
    return [name, `${shown(first)} to ${shown(last)}`, shown(from, 1), shown(most, 1), shown(perHour, 1)];
  });
  console.log(tableOf(["process", "lived, s", "MiB at half of that", "most MiB", "slope MiB/h, second half"], rows));
  if (svg === "") return;
  const panel = (title: string, wanted: (name: string) => boolean) => ({
    title,
    xLabel: "s",
    series: names
      .filter(wanted)
      .map((name) => ({ name, points: lives.filter((life) => life.name === name).flatMap(({ points }) => points) })),
  });
  writePicture(svg, [
    panel("Gateways, RSS MiB", (name) => name.startsWith("gateway")),
    panel("Shims, RSS MiB", (name) => name.startsWith("shim")),
    panel("OpenBao and Redis, RSS MiB", (name) => name === "OpenBao" || name === "Redis"),
  ]);
}

/** Restarts and rotations lie in the first third: what is judged is how memory goes on after them. */
export async function run(settings: Settings): Promise<void> {
  await withFleet(settings, async (fleet) => {
    const { world, simulators, identities } = fleet;
    const { seconds } = settings;
    await world.bao.call("POST", "auth/approle/role/claviger-gateway", { token_ttl: tokenTtl });
    await connect(fleet, identities);
    const shims: SoakShim[] = [];
    for (const cluster of world.clusters.slice(0, 2)) shims.push(await startSoakShim(world, cluster, perShim));
    await simulators.statuses(settings.statuses);
    await simulators.calls(settings.calls);
    await simulators.take();
    const end = new AbortController();
    const began = performance.now();
    const watching = watch(fleet, shims, Math.max(100, (seconds * 1000) / 500), end.signal);
    const failures: Failure[] = [];
    let good = 0;
    const until = async (share: number): Promise<void> => {
      do {
        await sleep(Math.max(0, Math.min(5000, began + share * seconds * 1000 - performance.now())));
        const taken = await simulators.take();
        good += taken.samples.length;
        failures.push(...taken.failures);
      } while (performance.now() - began < share * seconds * 1000);
    };
    const events: readonly (readonly [number, string, () => Promise<void>])[] = [
      [0.05, "rotation", () => rotateAll(fleet)],
      [0.1, "gateway-1 again", () => restartGateway(fleet, 0)],
      [0.2, "gateway-2 again", () => restartGateway(fleet, 1)],
      ...shims.map((shim) => [0.25, `${shim.name} again`, () => shim.restart()] as const),
      [0.3, "rotation", () => rotateAll(fleet)],
      [0.6, "rotation", () => rotateAll(fleet)],
    ];
    for (const [share, name, act] of events) {
      await until(share);
      say(name);
      await act();
    }
    await until(1);
    end.abort();
    const lives = await watching;
    await simulators.calls(0);
    await simulators.statuses(0);
    console.log(`\n## ${shown((performance.now() - began) / 1000)} s of mixed load\n`);
    report(lives, settings.svg);
    const rows = [["all simulated shims", shown(good), failuresOf(failures)]];
    for (const shim of shims) {
      const { ok, failed } = await shim.stop();
      const texts = [...failed].map(([reason, count]) => `${reason}: ${shown(count)}`);
      rows.push([shim.name, shown(ok), texts.length === 0 ? "0" : texts.join(", ")]);
    }
    console.log(`\n${tableOf(["calls through", "good", "failed"], rows)}`);
  });
}
