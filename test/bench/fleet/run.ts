// One run of a scenario: the parts, the shims, and what every report begins with.
import { setTimeout as sleep } from "node:timers/promises";
import { percentileOf, shown, tableOf } from "./figures.ts";
import { type Cost, createMeter, type Meter, metricOf, vaultPerSecond } from "./meter.ts";
import type { Identity, Sample, ShimKind, Taken } from "./protocol.ts";
import { type Simulators, startSimulators } from "./simulators.ts";
import { identitiesOf, type RegistryKind, startWorld, type World, type WorldOptions } from "./world.ts";

/** The options of the command line, with the defaults of the scenario. */
export type Settings = {
  readonly clusters: number;
  readonly nodes: number;
  /** Length of the part that is measured. */
  readonly seconds: number;
  /** Status of all shims in a second. */
  readonly statuses: number;
  /** Encrypts and Decrypts in a second. */
  readonly calls: number;
  readonly attach: "both" | "one";
  readonly registry: RegistryKind;
  readonly refresh: string;
  readonly gateways: number;
  /** What asks: a scenario that asks for Status alone can do it with `light` ones. */
  readonly shims: ShimKind;
  /** Processes of simulated shims; 0 is as many as their memory asks for. */
  readonly simulators: number;
  /** The gateways' `listen.limits.connections`. */
  readonly connections: number;
  /** Where to write a picture; none where it is empty. */
  readonly svg: string;
};

export type Fleet = {
  readonly world: World;
  readonly simulators: Simulators;
  readonly meter: Meter;
  readonly identities: readonly Identity[];
};

/** Progress, beside the report. */
export function say(text: string): void {
  process.stderr.write(`  ${text} ...\n`);
}

/**
 * Shims that connect at the same time, of all processes together: fewer while their clusters' keys are not
 * known, for which a gateway asks Vault first.
 */
const atOnce = { first: 16, more: 64 } as const;

/** A simulated shim takes 200 to 300 KiB, a light one a tenth; a process of 4 GiB does little but collect garbage. */
const shimsPerProcess = { own: 4000, light: 10_000 } as const;

/** Starts everything but the shims, runs, and stops everything whatever happens. */
export async function withFleet<T>(
  settings: Settings & Pick<WorldOptions, "extra" | "isRaw">,
  use: (fleet: Fleet) => Promise<T>,
): Promise<T> {
  const { nodes, attach } = settings;
  const world = await startWorld(settings, say);
  const needed = Math.max(2, Math.ceil((settings.clusters * nodes) / shimsPerProcess[settings.shims]));
  const processes = settings.simulators === 0 ? needed : settings.simulators;
  const simulators = startSimulators(processes);
  try {
    const identities = identitiesOf(world, nodes, attach);
    say(`${identities.length} certificates`);
    const signed = await simulators.sign(world.ca, identities, settings.shims);
    console.log(
      tableOf(
        ["setting", "value"],
        [
          ["clusters, nodes of each, shims", `${settings.clusters}, ${nodes}, ${identities.length}`],
          ["gateways in a shim's configuration", attach === "both" ? String(settings.gateways) : "1, in turn"],
          ["registry", settings.registry],
          [
            "gateways",
            `${settings.gateways}, listen.limits.connections ${settings.connections}, keys.refresh ${settings.refresh}`,
          ],
          ["simulated shims", `${settings.shims}, in ${processes} processes`],
          ["certificates signed in", `${shown(signed / 1000, 1)} s`],
          ["Transit keys made in", `${shown(world.setUp.keys / 1000, 1)} s`],
          ["registry filled in", `${shown(world.setUp.registry / 1000, 1)} s`],
        ],
      ),
    );
    return await use({ world, simulators, meter: createMeter(world, simulators), identities });
  } finally {
    await simulators.stop();
    await world.stop();
  }
}

export type Connected = { readonly seconds: number; readonly failed: number; readonly cost: Cost };

/** Starts shims, and waits until each has shown a good Status. What it took is in `cost`. */
export async function connect(
  { simulators, meter }: Fleet,
  identities: readonly Identity[],
  which: keyof typeof atOnce = "first",
): Promise<Connected> {
  say(`${identities.length} shims connect`);
  const began = performance.now();
  await meter.take();
  const failed = await simulators.connect(
    identities.map(({ index }) => index),
    atOnce[which],
  );
  const seconds = (performance.now() - began) / 1000;
  return { seconds, failed, cost: await meter.take() };
}

/** Lets garbage collectors and pollers come to rest. */
export async function rest(seconds: number): Promise<void> {
  await sleep(seconds * 1000);
}

/** Open connections of each gateway. */
export function connectionsOf({ gateways }: World): Promise<readonly number[]> {
  return Promise.all(gateways.map(({ metrics }) => metricOf(metrics, "claviger_gateway_connections")));
}

/** KMS requests that each gateway has answered since its start. */
export function requestsOf({ gateways }: World): Promise<readonly number[]> {
  return Promise.all(
    gateways.map(({ metrics }) => metricOf(metrics, "claviger_gateway_request_duration_seconds_count")),
  );
}

/** `p50 / p99 / max` of samples, milliseconds. */
export function spreadOf(samples: readonly Pick<Sample, "took">[]): string {
  const took = samples.map((sample) => sample.took);
  return [percentileOf(took, 0.5), percentileOf(took, 0.99), percentileOf(took, 1)]
    .map((value) => shown(value, 1))
    .join(" / ");
}

/** How many failed, and why. */
export function failuresOf(failures: Taken["failures"]): string {
  const counts = new Map<string, number>();
  for (const { kind, reason } of failures) {
    const name = `${kind} ${reason}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts.size === 0 ? "0" : [...counts].map(([name, count]) => `${name}: ${shown(count)}`).join(", ");
}

/** How far the figures of a run can be trusted: a call is as late as the process that makes it. */
export function latenessOf({ late }: Taken): string {
  return `The event loops of the simulated shims were late by ${shown(late.p99, 1)} ms in 1 % of the time, ${shown(late.max, 1)} ms at most; what is below that is their own.`;
}

/** Rows of calls by kind. */
export function callTable({ samples, failures }: Taken, seconds: number): string {
  const kinds = (["status", "encrypt", "decrypt"] as const).filter(
    (kind) => samples.some((sample) => sample.kind === kind) || failures.some((failure) => failure.kind === kind),
  );
  return tableOf(
    ["call", "good a second", "p50 / p99 / max ms", "failed", "of the last key_id (grace)"],
    kinds.map((kind) => {
      const own = samples.filter((sample) => sample.kind === kind);
      return [
        kind,
        shown(own.length / seconds, 1),
        spreadOf(own),
        failuresOf(failures.filter((failure) => failure.kind === kind)),
        shown(own.filter(({ isInGrace }) => isInGrace).length),
      ];
    }),
  );
}

/** `requests to Vault a second: N (of each kind)`. */
export function vaultRequestsOf(cost: Cost): string {
  const kinds = [...cost.vault]
    .toSorted(([, a], [, b]) => b - a)
    .map(([name, count]) => `${name} ${shown(count / cost.seconds, 1)}`);
  return `requests to Vault a second: ${shown(vaultPerSecond(cost), 1)} (${kinds.join(", ")})`;
}

/** What each part used, and what Vault was asked. */
export function costTable(cost: Cost): string {
  const rows = [...cost.cpu].map(([name, cpu]) => [name, shown(cpu, 1), shown(cost.rss.get(name) ?? Number.NaN, 1)]);
  return `${tableOf(["part", "CPU, % of a core", "RSS MiB"], rows)}\n\nMeanwhile, ${vaultRequestsOf(cost)}`;
}
