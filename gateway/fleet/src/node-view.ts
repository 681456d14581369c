// A cluster's nodes as its record and what gateways have seen say together: each in one condition, and unknown
// where that is not known. (docs/architecture.md #fleet-view.)
import type { NodeName } from "@claviger/proto/wire/names.ts";
import type { NodeReport } from "@claviger/gateway-core/src/redis/node-reports.ts";
import { nodeRefusal } from "@claviger/gateway-core/src/registry/nodes.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";

export const conditions = ["ok", "outage", "not_seen", "missing", "unexpected", "revoked", "unknown"] as const;
/** As `condition` of Node in the schema. */
export type Condition = (typeof conditions)[number];

export type NodeView = {
  readonly node: NodeName;
  readonly condition: Condition;
  readonly expected: boolean;
  readonly revoked: boolean;
  /** Undefined where no gateway has seen it. */
  readonly report: NodeReport | undefined;
  /** Since it was seen, milliseconds; 0 or more. */
  readonly ageMs: number | undefined;
};

/** A node that was not seen for so long has missed two Statuses and the time until they are written. */
export const notSeenMs = 180_000;

function conditionOf(
  refusal: ReturnType<typeof nodeRefusal>,
  { report, ageMs, expected }: Pick<NodeView, "report" | "ageMs" | "expected">,
  isComplete: boolean,
): Condition {
  if (refusal === "node_revoked") return "revoked";
  if (refusal === "node_unexpected") return "unexpected";
  if (report === undefined || ageMs === undefined) return expected && isComplete ? "missing" : "unknown";
  if (ageMs >= notSeenMs) return "not_seen";
  if (report.shim === undefined) return "unknown";
  return report.shim.phase === 0 ? "ok" : "outage";
}

/**
 * Every node that the record names or that was seen, by name.
 * @param isComplete would every node be in the reports that has asked for a Status?
 * @param now Unix milliseconds
 */
export function nodesOf(
  record: ClusterRecord,
  reports: readonly NodeReport[],
  isComplete: boolean,
  now: number,
): readonly NodeView[] {
  const { expected = [], revoked = [] } = record.nodes ?? {};
  const seen = new Map(reports.map((report) => [report.node, report]));
  const names = [...new Set([...expected, ...revoked, ...seen.keys()])].toSorted();
  return names.map((node) => {
    const report = seen.get(node);
    const refusal = nodeRefusal(record, {
      node,
      ...(report !== undefined && { serial: report.certificate.serial }),
    });
    const view = {
      node,
      expected: expected.includes(node),
      revoked: refusal === "node_revoked",
      report,
      ageMs: report === undefined ? undefined : Math.max(0, now - report.at),
    };
    return { ...view, condition: conditionOf(refusal, view, isComplete) };
  });
}

/** The share of a certificate's life that is left; 0 where it has expired. @param now Unix milliseconds */
export function lifeLeft({ certificate: { notBefore, notAfter } }: NodeReport, now: number): number {
  return Math.max(0, (notAfter - now) / Math.max(1, notAfter - notBefore));
}
