// What a change does that can be made to need a second administrator: told by what it makes of a record, and not
// by the method that is called, so that no other method does the same without. (docs/control-plane.md.)
import type { Change } from "@claviger/gateway-core/src/registry/edit/change.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";

export const kinds = ["resume", "allow-node", "expect-node", "remove-cluster", "retire-key", "unretire-key"] as const;
export type Kind = (typeof kinds)[number];

type Fields = ReturnType<Change>;
type Effect = (before: ClusterRecord, after: ClusterRecord) => readonly Kind[];

const openness = { suspended: 0, "decrypt-only": 1, active: 2 } as const;

/** Is there one in `before` that `after` lacks? */
function lacks<T>(before: readonly T[] = [], after: readonly T[] = []): boolean {
  return before.some((one) => !after.includes(one));
}

/** Of each field that a change can name. One that is new here does not compile without a row. */
const effects: Readonly<Record<keyof Fields, Effect>> = {
  state: (before, after) => (openness[after.state] > openness[before.state] ? ["resume"] : []),
  nodes: ({ nodes: before }, { nodes: after }) => [
    ...(lacks(before?.revoked, after?.revoked) || lacks(before?.revokedSerials, after?.revokedSerials)
      ? (["allow-node"] as const)
      : []),
    ...(before?.expected !== undefined && (after?.expected === undefined || lacks(after.expected, before.expected))
      ? (["expect-node"] as const)
      : []),
  ],
  labels: () => [],
  limits: () => [],
  rotation: () => [],
};

/** What a change of a record does. */
export function kindsOfChange(before: ClusterRecord, fields: Fields): readonly Kind[] {
  const after = { ...before, ...fields };
  return Object.values(effects).flatMap((effect) => effect(before, after));
}

/** What taking a record out does: its suspension and its revocations go with it, and come back with no other. */
export function kindsOfRemoval({ state, nodes }: ClusterRecord): readonly Kind[] {
  const isRevoking = [...(nodes?.revoked ?? []), ...(nodes?.revokedSerials ?? [])].length > 0;
  return [
    "remove-cluster",
    ...(state === "active" ? [] : (["resume"] as const)),
    ...(isRevoking ? (["allow-node"] as const) : []),
    ...(nodes?.expected === undefined ? [] : (["expect-node"] as const)),
  ];
}
