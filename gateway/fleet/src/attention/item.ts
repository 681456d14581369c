// What needs a person: its kind, and all that is said of it.

/** Every kind, the most urgent first. */
export const severities = {
  writes_stopped: "critical",
  backend_down: "critical",
  no_gateway: "critical",
  certificate_expired: "critical",
  outage_degraded: "critical",
  key_broken: "critical",
  nodes_unknown: "warning",
  foreign_values: "warning",
  registry_problem: "warning",
  gateway_problem: "warning",
  gateway_not_seen: "warning",
  gateway_login: "warning",
  gateway_certificate: "warning",
  service_certificate: "warning",
  certificate_expiring: "warning",
  key_not_promoted: "warning",
  node_revoked: "warning",
  node_missing: "warning",
  node_not_seen: "warning",
  outage: "warning",
  key_old: "warning",
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

export function item(kind: AttentionKind, rest: Omit<AttentionItem, "kind" | "severity">): AttentionItem {
  return { kind, severity: severities[kind], ...rest };
}

const ofFleet: ReadonlySet<AttentionKind> = new Set<AttentionKind>([
  "backend_down",
  "no_gateway",
  "nodes_unknown",
  "foreign_values",
  "registry_problem",
  "gateway_problem",
  "gateway_not_seen",
  "gateway_login",
  "gateway_certificate",
  "service_certificate",
  "gateway_busy",
]);

/** The cluster that an item is about; undefined where it is about what all clusters share. */
export function clusterOf({ kind, target }: AttentionItem): string | undefined {
  return ofFleet.has(kind) ? undefined : target.split("/")[0];
}

export const checkGateway = "claviger-gateway --config /etc/claviger/gateway.yaml --check";

/** Where a command is to be run. @param name of a gateway, HOST:PORT */
export function onHostOf(name = ""): string {
  return `on ${name.split(":")[0]}`;
}
