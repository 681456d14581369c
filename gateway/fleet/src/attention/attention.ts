// What needs a person, from what is known of a fleet: a state in, items out. Each has its cause and the command
// that cures it, or shows what to do next. (docs/control-plane.md.)
import type { CertificateState } from "@claviger/proto/runtime/expiry.ts";
import type { GatewayReport } from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import type { OldKey } from "../keys/ages.ts";
import type { Incomplete } from "../sightings.ts";
import { backendItems, gatewayItems } from "./gateways.ts";
import { type AttentionItem, attentionKinds, checkGateway, item, onHostOf } from "./item.ts";
import { failingKeyItems, oldKeyItem } from "./keys.ts";
import { clusterItems, type ClusterView } from "./nodes.ts";

export type FleetView = {
  readonly clusters: readonly ClusterView[];
  readonly gateways: readonly GatewayReport[];
  /** Gateways that have said nothing new for some seconds. */
  readonly silent: ReadonlySet<string>;
  readonly incomplete: readonly Incomplete[];
  /** Keys that are older than the policy allows. */
  readonly oldKeys: readonly OldKey[];
  /** What is wrong with records as they stand; empty where all are good. */
  readonly registryProblem: string;
  /** The certificates of the replica that is asked. */
  readonly certificates: readonly CertificateState[];
};

/** A gateway reports itself every second; this is for a service that looks for the first time, and clocks that differ. */
const gatewayMissedMs = 45_000;

function incompleteItems(incomplete: readonly Incomplete[]): readonly AttentionItem[] {
  return incomplete.flatMap(({ kind, text }) => {
    switch (kind) {
      case "away":
        return [item("nodes_unknown", { target: "fleet", cause: text, command: `on a gateway: ${checkGateway}` })];
      case "refused":
        return [item("foreign_values", { target: "fleet", cause: text, command: "on Redis: redis-cli ACL LOG" })];
      // The one is meant so, and the other passes.
      case "none":
      case "young":
        return [];
    }
  });
}

const order = new Map(attentionKinds.map((kind, i) => [kind, i]));

/** What is wrong with the service itself, and with what it reads. */
function serviceItems({ registryProblem, certificates }: FleetView): readonly AttentionItem[] {
  const registry = { target: "fleet", cause: registryProblem, command: "claviger cluster list" };
  return [
    ...(registryProblem === "" ? [] : [item("registry_problem", registry)]),
    ...certificates
      .filter(({ level }) => level !== "ok")
      .map(({ role, text }) =>
        item("service_certificate", {
          target: "fleet",
          cause: `${role} of the fleet service: ${text}`,
          command: "where the fleet service runs: claviger-fleet --config /etc/claviger/fleet.yaml --check",
        }),
      ),
  ];
}

/** Everything that needs a person, the most urgent and then the oldest first. @param now Unix milliseconds */
export function attentionOf(view: FleetView, now: number): readonly AttentionItem[] {
  const { clusters, gateways, silent, incomplete, oldKeys } = view;
  const [late, live] = [true, false].map((isLate) =>
    gateways.filter(({ name, at }) => (silent.has(name) || now - at >= gatewayMissedMs) === isLate),
  );
  const isRead = incomplete.every(({ kind }) => kind === "refused");
  const items = [
    ...incompleteItems(incomplete),
    ...serviceItems(view),
    ...(isRead && gateways.length === 0
      ? [
          item("no_gateway", {
            target: "fleet",
            cause: "no gateway has reported itself in a quarter of an hour",
            command: `on a gateway: ${checkGateway}`,
          }),
        ]
      : []),
    ...backendItems(live ?? []),
    ...(live ?? []).flatMap((gateway) => gatewayItems(gateway, now)),
    ...(late ?? []).map(({ name, at }) =>
      item("gateway_not_seen", {
        target: name,
        cause: "it has not reported itself, and has not said that it stops",
        since: at,
        command: `${onHostOf(name)}: ${checkGateway}`,
      }),
    ),
    ...clusters.flatMap((cluster) => clusterItems(cluster, now)),
    ...failingKeyItems(
      clusters.map(({ record }) => record),
      live ?? [],
    ),
    ...oldKeys.map((key) => oldKeyItem(key, now)),
  ];
  return items.toSorted(
    (a, b) =>
      (order.get(a.kind) ?? 0) - (order.get(b.kind) ?? 0) ||
      (a.since ?? Number.POSITIVE_INFINITY) - (b.since ?? Number.POSITIVE_INFINITY) ||
      (a.target < b.target ? -1 : 1),
  );
}
