// What needs a person, from what is known of a fleet: a state in, items out. Each has its cause and the command
// that cures it, or shows what to do next. (docs/control-plane.md.)
import type { GatewayReport } from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { lifeLeft, type NodeView } from "./node-view.ts";
import type { Incomplete } from "./sightings.ts";

/** Every kind, the most urgent first. */
export const severities = {
  writes_stopped: "critical",
  backend_down: "critical",
  no_gateway: "critical",
  certificate_expired: "critical",
  outage_degraded: "critical",
  nodes_unknown: "warning",
  foreign_values: "warning",
  gateway_problem: "warning",
  gateway_not_seen: "warning",
  gateway_login: "warning",
  gateway_certificate: "warning",
  certificate_expiring: "warning",
  node_missing: "warning",
  node_not_seen: "warning",
  outage: "warning",
  gateway_busy: "warning",
} as const;
export type AttentionKind = keyof typeof severities;
export const attentionKinds = Object.keys(severities) as readonly AttentionKind[];

export type AttentionItem = {
  readonly kind: AttentionKind;
  readonly severity: "critical" | "warning";
  /** A cluster, CLUSTER/NODE, a gateway, a backend, or `fleet`. */
  readonly target: string;
  readonly cause: string;
  /** Unix milliseconds; absent where it is not known. */
  readonly since?: number;
  readonly command: string;
};

export type FleetView = {
  readonly clusters: readonly { readonly record: ClusterRecord; readonly nodes: readonly NodeView[] }[];
  readonly gateways: readonly GatewayReport[];
  readonly incomplete: readonly Incomplete[];
};

/** A shim renews at two thirds of a certificate's life; by then it has tried at least once more. */
const expiringLeft = 1 / 3 - 1 / 20;
const missedMs = 600_000;
/** A gateway reports itself every ten seconds. */
const gatewayMissedMs = 45_000;
const loginMs = 24 * 3600_000;
const busyShare = 0.8;
/** Nodes that a cause names. */
const mostNamed = 3;

const checkShim = "claviger-shim --config /etc/claviger/shim.yaml --check";
const checkGateway = "claviger-gateway --config /etc/claviger/gateway.yaml --check";

function item(kind: AttentionKind, rest: Omit<AttentionItem, "kind" | "severity">): AttentionItem {
  return { kind, severity: severities[kind], ...rest };
}

/** What is wrong with one node; undefined where nothing is. @param now Unix milliseconds */
function wrongOf({ condition, report, ageMs = 0 }: NodeView, now: number) {
  if (condition === "revoked" || condition === "unexpected") return undefined;
  if (condition === "missing") return { kind: "node_missing" } as const;
  if (report === undefined) return undefined;
  const { at, shim, certificate } = report;
  const { notBefore, notAfter } = certificate;
  if (notAfter <= now) return { kind: "certificate_expired", since: notAfter } as const;
  const outage = { since: shim?.sinceGood === undefined ? at : at - shim.sinceGood * 1000 };
  if (condition === "outage" && shim?.phase === 3) return { kind: "writes_stopped", ...outage } as const;
  if (condition === "outage" && shim?.phase === 2) return { kind: "outage_degraded", ...outage } as const;
  if (lifeLeft(report, now) < expiringLeft)
    return { kind: "certificate_expiring", since: notAfter - (notAfter - notBefore) / 3 } as const;
  if (ageMs >= missedMs) return { kind: "node_not_seen", since: at } as const;
  return condition === "outage" ? ({ kind: "outage", ...outage } as const) : undefined;
}
type NodeKind = NonNullable<ReturnType<typeof wrongOf>>["kind"];

const nodeCauses: Readonly<Record<NodeKind, string>> = {
  writes_stopped: "no gateway confirms its key: Status is an error, and kube-apiserver stops writing",
  outage_degraded: "no gateway confirms its key: healthz names the cause, and Status becomes an error next",
  outage: "no gateway confirms its key: it goes on with the last key_id",
  certificate_expired: "its certificate has expired: gateways refuse it; where it is gone for good, revoke it",
  certificate_expiring: "its certificate was not renewed at two thirds of its life",
  node_missing: "the record expects it, and no gateway has seen it; where it is not to come, take it off the list",
  node_not_seen: "no gateway has answered its Status lately; where it is gone for good, revoke it",
};

function nodeCommand(kind: NodeKind, cluster: string, node: string): string {
  switch (kind) {
    case "certificate_expired":
    case "certificate_expiring":
      return `claviger node token ${cluster}/${node} --reason 'its certificate expires'`;
    case "node_missing":
      return `claviger node token ${cluster}/${node} --reason 'a new node'`;
    case "writes_stopped":
    case "outage_degraded":
    case "outage":
    case "node_not_seen":
      return `on ${node} of ${cluster}: ${checkShim}`;
  }
}

/** One item of a kind for a cluster: what is wrong with all of its nodes has one cause. */
function clusterItems({ record, nodes }: FleetView["clusters"][number], now: number): readonly AttentionItem[] {
  // A cluster that may not ask for a Status is not seen.
  if (record.state !== "active") return [];
  const found = new Map<NodeKind, { readonly node: string; readonly since: number | undefined }[]>();
  for (const view of nodes) {
    const wrong = wrongOf(view, now);
    if (wrong === undefined) continue;
    const { kind, since } = { since: undefined, ...wrong };
    found.set(kind, [...(found.get(kind) ?? []), { node: view.node, since }]);
  }
  return [...found].map(([kind, all]) => {
    const [first] = all;
    const names = all.slice(0, mostNamed).map(({ node }) => node);
    const more = all.length > names.length ? ` and ${all.length - names.length} more` : "";
    const since = all.flatMap((one) => one.since ?? []);
    return item(kind, {
      target: all.length === 1 ? `${record.name}/${first?.node}` : record.name,
      cause: all.length === 1 ? nodeCauses[kind] : `${names.join(", ")}${more}, each: ${nodeCauses[kind]}`,
      ...(since.length > 0 && { since: Math.min(...since) }),
      command: nodeCommand(kind, record.name, first?.node ?? ""),
    });
  });
}

function isDown({ addresses }: GatewayReport["backends"][number]): boolean {
  return addresses.length > 0 && addresses.every(({ isUp }) => !isUp);
}

/** What is wrong with one gateway that reports itself. */
function gatewayItems({ name, backends, certificates, problems, eventLoop = 0 }: GatewayReport, now: number) {
  const [host] = name.split(":");
  const command = `on ${host}: ${checkGateway}`;
  const logins = backends.flatMap(({ name: backend, login }) =>
    login?.isLast === true && login.until - now < loginMs
      ? [
          item("gateway_login", {
            target: name,
            cause: `its Vault token for ${backend} cannot be renewed and ends at ${new Date(login.until).toISOString()}; put another one in its file`,
            command,
          }),
        ]
      : [],
  );
  const bad = certificates.flatMap(({ role, problem }) =>
    problem === undefined ? [] : [item("gateway_certificate", { target: name, cause: `${role}: ${problem}`, command })],
  );
  const down = new Set(backends.filter(isDown).map((backend) => `backend/${backend.name}`));
  const failing = Object.entries(problems)
    // One that stops says so, and a backend has an item of its own.
    .filter(([check]) => check !== "process" && !down.has(check))
    .map(([check, text]) => item("gateway_problem", { target: name, cause: `${check}: ${text}`, command }));
  const busy =
    eventLoop < busyShare
      ? []
      : [
          item("gateway_busy", {
            target: name,
            cause: `its event loop works ${Math.round(eventLoop * 100)} % of the time: a gateway is one core`,
            command: "kubectl -n claviger-gateway scale deployment/claviger-gateway --replicas=N, with one more",
          }),
        ];
  return [...logins, ...bad, ...failing, ...busy];
}

/** Backends that no address of is up, one item for all gateways that say so. */
function backendItems(gateways: readonly GatewayReport[]): readonly AttentionItem[] {
  const down = new Map<string, string[]>();
  for (const { name, backends } of gateways)
    for (const backend of backends)
      if (isDown(backend)) down.set(backend.name, [...(down.get(backend.name) ?? []), name]);
  return [...down].map(([backend, names]) =>
    item("backend_down", {
      target: backend,
      cause: `no address of it serves, say ${names.length} of ${gateways.length} gateways`,
      command: `on ${names[0]?.split(":")[0]}: ${checkGateway}`,
    }),
  );
}

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

/** Everything that needs a person, the most urgent and then the oldest first. @param now Unix milliseconds */
export function attentionOf({ clusters, gateways, incomplete }: FleetView, now: number): readonly AttentionItem[] {
  const [late, live] = [true, false].map((isLate) =>
    gateways.filter(({ at }) => now - at >= gatewayMissedMs === isLate),
  );
  const isRead = incomplete.every(({ kind }) => kind === "refused");
  const items = [
    ...incompleteItems(incomplete),
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
        command: `on ${name.split(":")[0]}: ${checkGateway}`,
      }),
    ),
    ...clusters.flatMap((cluster) => clusterItems(cluster, now)),
  ];
  return items.toSorted(
    (a, b) =>
      (order.get(a.kind) ?? 0) - (order.get(b.kind) ?? 0) ||
      (a.since ?? Number.POSITIVE_INFINITY) - (b.since ?? Number.POSITIVE_INFINITY) ||
      (a.target < b.target ? -1 : 1),
  );
}
