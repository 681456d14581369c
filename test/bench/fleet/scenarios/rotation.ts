// Many clusters get a new key version at once, while their apiservers ask and write: by Claviger's own
// command, and behind its back. When does each shim show the new key_id, and does any go back?
import { CliError } from "@claviger/cli/src/commander.ts";
import { openFleet } from "@claviger/cli/src/fleet.ts";
import { createGate } from "@claviger/gateway-core/src/registry/gate.ts";
import { keyName, mountPath } from "@claviger/proto/wire/names.ts";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { transitMount } from "../../../lab/openbao.ts";
import { percentileOf, secondsOf, shown, sparkline, tableOf } from "../figures.ts";
import { metricOf, vaultPerSecond } from "../meter.ts";
import type { Shown, Taken } from "../protocol.ts";
import { callTable, connect, failuresOf, latenessOf, type Fleet, say, type Settings, withFleet } from "../run.ts";
import type { World } from "../world.ts";

export const defaults = { clusters: 60, nodes: 3, seconds: 90, statuses: 60, calls: 20, attach: "both" } as const;

/** When each cluster's rotation was done, Unix milliseconds. */
type Rotated = ReadonlyMap<string, number>;
type Way = { readonly name: string; readonly rotate: (world: World) => Promise<Rotated> };

async function rotateAll(clusters: readonly string[], one: (cluster: string) => Promise<unknown>): Promise<Rotated> {
  const gate = createGate(16);
  const done = new Map<string, number>();
  await Promise.all(
    clusters.map((cluster) =>
      gate(async () => {
        await one(cluster);
        done.set(cluster, performance.timeOrigin + performance.now());
      }),
    ),
  );
  return done;
}

/** What `claviger key rotate` does, opened once for all clusters. */
async function byCommand({ gateways, bao, clusters, dir }: World): Promise<Rotated> {
  const [gateway] = gateways;
  if (gateway === undefined) throw new CliError("no gateway");
  const env = { VAULT_TOKEN: readFileSync(bao.tokenFile, "utf8") };
  const fleet = openFleet({ config: gateway.config }, { out: () => {}, err: () => {}, env, home: dir });
  const mount = mountPath.parse(transitMount);
  return await fleet.withBackend("main", (backend) =>
    rotateAll(clusters, (cluster) =>
      backend.rotate({ backend: backend.name, mount, key: keyName.parse(cluster) }, AbortSignal.timeout(10_000)),
    ),
  );
}

const ways: readonly Way[] = [
  { name: "`claviger key rotate`", rotate: byCommand },
  {
    name: "behind Claviger's back (Vault's API)",
    rotate: ({ bao, clusters }) =>
      rotateAll(clusters, (cluster) => bao.call("POST", `${transitMount}/keys/${cluster}/rotate`)),
  },
];

/** Shims that showed a key_id again after another one. */
function wentBack(shown: readonly Shown[]): number {
  const seen = new Map<number, Set<string>>();
  let count = 0;
  for (const { shim, keyId } of shown) {
    const own = seen.get(shim) ?? new Set();
    if (own.has(keyId)) count += 1;
    seen.set(shim, own.add(keyId));
  }
  return count;
}

function merged(all: readonly Taken[]): Taken {
  return {
    samples: all.flatMap(({ samples }) => samples),
    failures: all.flatMap(({ failures }) => failures),
    shown: all.flatMap(({ shown: own }) => own),
    connected: all.flatMap(({ connected }) => connected),
    refused: all.flatMap(({ refused }) => refused),
    late: { p99: Math.max(...all.map(({ late }) => late.p99)), max: Math.max(...all.map(({ late }) => late.max)) },
  };
}

/** Waits until as many shims have shown a new key_id, or for so long; then for a while more. */
async function watch({ simulators }: Fleet, count: number, seconds: number): Promise<Taken> {
  const taken: Taken[] = [];
  const news = new Set<number>();
  for (const end = Date.now() + seconds * 1000; Date.now() < end && news.size < count; await sleep(1000)) {
    const next = await simulators.take();
    for (const { shim } of next.shown) news.add(shim);
    taken.push(next);
  }
  await sleep(5000);
  return merged([...taken, await simulators.take()]);
}

export async function run(settings: Settings): Promise<void> {
  await withFleet(settings, async (fleet) => {
    const { world, simulators, meter, identities } = fleet;
    await connect(fleet, identities);
    await simulators.statuses(settings.statuses);
    await simulators.calls(settings.calls);
    await sleep(10_000);
    const history: Shown[] = [...(await simulators.take()).shown];
    const rows: string[][] = [];
    for (const { name, rotate } of ways) {
      say(`${world.clusters.length} rotations: ${name}`);
      await meter.take();
      const began = performance.timeOrigin + performance.now();
      const rotated = await rotate(world);
      const took = performance.timeOrigin + performance.now() - began;
      const interval = await metricOf(
        world.gateways[0]?.metrics ?? "",
        "claviger_gateway_key_refresh_interval_seconds",
      );
      const taken = await watch(fleet, identities.length, settings.seconds);
      const cost = await meter.take();
      history.push(...taken.shown);
      const first = new Map<number, number>();
      for (const { shim, at } of taken.shown) {
        const of = rotated.get(identities[shim]?.cluster ?? "") ?? began;
        if (!first.has(shim)) first.set(shim, (at - of) / 1000);
      }
      const lags = [...first.values()];
      rows.push([
        name,
        `${shown(took / 1000, 1)} s`,
        `${shown(interval, 1)} s`,
        `${shown(first.size)} of ${shown(identities.length)}`,
        [0.5, 0.99, 1].map((share) => shown(percentileOf(lags, share), 1)).join(" / "),
        failuresOf(taken.failures),
        shown(vaultPerSecond(cost), 1),
      ]);
      const series = secondsOf(taken.shown, {
        from: began,
        seconds: Math.ceil(cost.seconds),
        at: ({ at }) => at,
        figure: (items) => items.length,
      });
      console.log(`\n${name}: new key_ids in each second from the first rotation on\n\n    ${sparkline(series)}\n`);
      console.log(callTable(taken, cost.seconds));
      console.log(`\n${latenessOf(taken)}`);
    }
    await simulators.calls(0);
    await simulators.statuses(0);
    const every = identities.length / settings.statuses;
    console.log(
      `\n## Rotations of ${world.clusters.length} clusters at once; each shim is asked every ${shown(every, 1)} s\n`,
    );
    const heads = [
      "way",
      "rotating took",
      "interval of key reads",
      "shims with a new key_id",
      "after p50 / p99 / max s",
      "failed calls",
      "Vault requests a second",
    ];
    console.log(tableOf(heads, rows));
    console.log(`\nKey_ids that came back: ${wentBack(history)}`);
  });
}
