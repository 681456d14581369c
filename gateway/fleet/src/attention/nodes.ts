// What is wrong with the nodes of a cluster.
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { lifeLeft, type NodeView } from "../node-view.ts";
import { type AttentionItem, item } from "./item.ts";

/** A shim renews at two thirds of a certificate's life; by then it has tried at least once more. */
const expiringLeft = 1 / 3 - 1 / 20;
const missedMs = 600_000;
/** Nodes that a cause names. */
const mostNamed = 3;

const checkShim = "claviger-shim --config /etc/claviger/shim.yaml --check";

export type ClusterView = { readonly record: ClusterRecord; readonly nodes: readonly NodeView[] };

/** What is wrong with one node; undefined where nothing is. @param now Unix milliseconds */
function wrongOf({ condition, report, ageMs = 0 }: NodeView, now: number) {
  if (condition === "revoked")
    return report !== undefined && ageMs < missedMs ? ({ kind: "node_revoked", since: report.at } as const) : undefined;
  if (condition === "unexpected") return undefined;
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
  node_revoked:
    "it was up until its record refused it: its kube-apiserver encrypts and decrypts nothing; take the node down, or allow it",
  node_missing: "the record expects it, and no gateway has seen it; where it is not to come, take it off the list",
  node_not_seen: "no gateway has answered its Status lately; where it is gone for good, revoke it",
};

function nodeCommand(kind: NodeKind, cluster: string, node: string): string {
  switch (kind) {
    case "certificate_expired":
    case "certificate_expiring":
      return `claviger node token ${cluster}/${node} --reason 'its certificate expires'`;
    case "node_revoked":
      return `claviger node allow ${cluster}/${node} --reason 'it is ours'`;
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
export function clusterItems({ record, nodes }: ClusterView, now: number): readonly AttentionItem[] {
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
