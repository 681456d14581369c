// One of two gateways is killed under load, and started again later. What do the apiservers notice, how
// long until every shim is served, and how many connections does its return bring at once?
import { setTimeout as sleep } from "node:timers/promises";
import { readyLine } from "../../../lab/process-group.ts";
import { shown } from "../figures.ts";
import { report, type Seen } from "../kill-report.ts";
import { connect, connectionsOf, costTable, requestsOf, say, type Settings, withFleet } from "../run.ts";
import type { World } from "../world.ts";

export const defaults = { clusters: 60, nodes: 3, seconds: 60, statuses: 60, calls: 40, attach: "both" } as const;

function now(): number {
  return performance.timeOrigin + performance.now();
}

/** Once a second until the signal ends. */
async function watchConnections(world: World, signal: AbortSignal): Promise<readonly Seen[]> {
  const seen: Seen[] = [];
  for (; !signal.aborted; await sleep(1000)) seen.push({ at: now(), of: await connectionsOf(world) });
  return seen;
}

/** Ends the second gateway, and starts it again after so many milliseconds. */
async function killForAWhile(world: World, ms: number): Promise<{ readonly killed: number; readonly back: number }> {
  const victim = world.gateways[1];
  if (victim === undefined) throw new TypeError("a second gateway is needed");
  say("kill -9");
  const killed = now();
  victim.proc.child.kill("SIGKILL");
  await victim.proc.ended;
  await sleep(ms);
  say("started again");
  const proc = world.processes.start(victim.name, victim.proc.argv);
  world.gateways[1] = { ...victim, proc };
  await readyLine(proc);
  return { killed, back: now() };
}

function difference(after: readonly number[], before: readonly number[]): readonly number[] {
  return after.map((value, i) => value - (before[i] ?? 0));
}

/** A third of the time before the kill, a third with one gateway, a third with both again. */
export async function run(settings: Settings): Promise<void> {
  await withFleet(settings, async (fleet) => {
    const { world, simulators, meter, identities } = fleet;
    const made = await connect(fleet, identities);
    const open = (await connectionsOf(world)).map((one) => shown(one)).join(", ");
    console.log(`\n${shown(identities.length)} shims connected in ${shown(made.seconds, 1)} s; connections: ${open}`);
    await simulators.statuses(settings.statuses);
    await simulators.calls(settings.calls);
    await sleep(5000);
    await simulators.take();
    await meter.take();
    const third = (settings.seconds * 1000) / 3;
    const end = new AbortController();
    const watching = watchConnections(world, end.signal);
    const [began, atFirst] = [now(), await requestsOf(world)];
    await sleep(third);
    const before = difference(await requestsOf(world), atFirst);
    const { killed, back } = await killForAWhile(world, third);
    const atReturn = (await requestsOf(world)).map((one) => (Number.isFinite(one) ? one : 0));
    await sleep(third);
    const ended = now();
    const requests = { before, after: difference(await requestsOf(world), atReturn) };
    const [taken, cost] = [await simulators.take(), await meter.take()];
    end.abort();
    const connections = await watching;
    await simulators.calls(0);
    await simulators.statuses(0);
    const shims = identities.length;
    report({ taken, began, killed, back, ended, connections, requests, shims }, settings.svg);
    const left = (await connectionsOf(world)).map((one) => shown(one)).join(", ");
    console.log(`\nConnections at the end: ${left}\n\n${costTable(cost)}`);
  });
}
