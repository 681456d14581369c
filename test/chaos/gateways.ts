// What the gateways of the site say of themselves, and how they are started again with other settings.
import { setTimeout as sleep } from "node:timers/promises";
import { metricOf } from "../bench/fleet/meter.ts";
import { writeGatewayConfig } from "../lab/fleet.ts";
import { until } from "../lab/process-group.ts";
import { restarted } from "./fault.ts";
import type { GatewayPart, Site } from "./site.ts";

const countedMs = 1500;

/**
 * The gateways, most used first: each shim has a quickest one, and a fault of another would show nothing. Both
 * have the same order of calls where the shims do not agree.
 */
export async function byUse({ gateways }: Site): Promise<readonly GatewayPart[]> {
  const counts = (): Promise<readonly number[]> =>
    Promise.all(gateways.map(({ gateway }) => metricOf(gateway.metrics, "claviger_gateway_request_duration_count")));
  const before = await counts();
  await sleep(countedMs);
  const after = await counts();
  const used = gateways.map((part, n) => ({ part, count: (after[n] ?? 0) - (before[n] ?? 0) }));
  return used.toSorted((a, b) => b.count - a.count).map(({ part }) => part);
}

/** Waits until /readyz names a check that begins so, with something else than `ok`. */
export async function complaining({ gateway, proc }: GatewayPart, check: string): Promise<void> {
  await until(`a check ${check} in /readyz`, proc(), async () => {
    const reply = await fetch(gateway.metrics.replace("/metrics", "/readyz"));
    const { checks } = (await reply.json()) as { readonly checks: Readonly<Record<string, string>> };
    return Object.entries(checks).some(([name, text]) => name.startsWith(check) && text !== "ok") ? true : undefined;
  });
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}

/** Starts a gateway again with settings to add or replace; without any, as it was at first. */
export async function reconfigured(
  site: Site,
  part: GatewayPart,
  settings: Readonly<Record<string, unknown>> = {},
  argv?: readonly string[],
): Promise<void> {
  const { options, gateway } = part;
  const ports = { listen: portOf(gateway.url), admin: portOf(gateway.metrics) };
  await writeGatewayConfig({ ...options, extra: { ...options.extra, ...settings } }, ports);
  await restarted(site, part, argv);
}
