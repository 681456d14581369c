// What happens in a fleet, as operators may follow it. (docs/control-plane.md.)
import type { ClusterName, NodeName } from "@claviger/proto/wire/names.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";

/** Who did it, and why; absent where this replica of the service did not do it. */
export type By = { readonly operator: string; readonly because?: string | undefined };

export type FleetEvent = {
  /** Unix milliseconds. */
  readonly at: number;
  readonly by?: By | undefined;
} & (
  | {
      /** A record is new, another one, or gone. */
      readonly kind: "cluster";
      readonly before?: ClusterRecord | undefined;
      readonly after?: ClusterRecord | undefined;
    }
  | {
      readonly kind: "node-revoked" | "node-allowed";
      readonly record: ClusterRecord;
      /** A node, or certificates. */
      readonly node?: NodeName;
      readonly serials?: readonly string[];
    }
  | {
      readonly kind: "node-first-seen" | "node-phase" | "node-lost" | "node-back";
      readonly record: ClusterRecord;
      readonly node: NodeName;
      /** How an outage stood for it when it was seen last; undefined for a shim that does not say it. */
      readonly phase: number | undefined;
      readonly before: number | undefined;
    }
  | {
      /** Something else needs a person than before: of these clusters, undefined where it is of the whole fleet. */
      readonly kind: "attention";
      readonly records: readonly (ClusterRecord | undefined)[];
    }
  | {
      readonly kind: "token-created" | "node-enrolled";
      readonly cluster: ClusterName;
      readonly record: ClusterRecord | undefined;
      readonly node: string;
    }
  | {
      readonly kind: "approval-asked" | "approval-approved" | "approval-rejected";
      readonly approval: string;
      readonly clusters: readonly ClusterName[];
      readonly records: readonly (ClusterRecord | undefined)[];
    }
);

function lacking<T>(of: readonly T[] = [], than: readonly T[] = []): readonly T[] {
  return of.filter((one) => !than.includes(one));
}

/** What an edit of a record is: the record's own event, and one for each node that it refuses now, or takes again. */
export function eventsOfEdit(
  at: number,
  before: ClusterRecord | undefined,
  after: ClusterRecord | undefined,
  by: By | undefined,
): readonly FleetEvent[] {
  const own: FleetEvent = { kind: "cluster", at, before, after, by };
  if (before === undefined || after === undefined) return [own];
  const sides = [
    ["node-revoked", after, before],
    ["node-allowed", before, after],
  ] as const;
  return [
    own,
    ...sides.flatMap(([kind, one, other]): readonly FleetEvent[] => {
      const serials = lacking(one.nodes?.revokedSerials, other.nodes?.revokedSerials);
      return [
        ...lacking(one.nodes?.revoked, other.nodes?.revoked).map((node) => ({ kind, at, by, record: after, node })),
        ...(serials.length > 0 ? [{ kind, at, by, record: after, serials }] : []),
      ];
    }),
  ];
}
