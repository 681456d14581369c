// Changes of a record's nodes: who is refused, and who is there at all. (docs/architecture.md #registry.)
import type { NodeName } from "@claviger/proto/wire/names.ts";
import type { ClusterRecord } from "../record.ts";
import type { Change } from "./change.ts";

type Nodes = NonNullable<ClusterRecord["nodes"]>;

/** A node, or certificates by their serial numbers (normalSerial). */
export type NodeTarget = { readonly node?: NodeName; readonly serials: readonly string[] };

/** The same without lists that are empty. */
function withLists(nodes: Nodes, revoked: readonly NodeName[], revokedSerials: readonly string[]): Nodes {
  return {
    ...(nodes.expected !== undefined && { expected: nodes.expected }),
    ...(revoked.length > 0 && { revoked: [...revoked] }),
    ...(revokedSerials.length > 0 && { revokedSerials: [...revokedSerials] }),
  };
}

export function revoke({ node, serials }: NodeTarget): Change {
  return ({ nodes = {} }) => {
    const { revoked = [], revokedSerials = [] } = nodes;
    const names = node === undefined || revoked.includes(node) ? revoked : [...revoked, node];
    return { nodes: withLists(nodes, names, [...new Set([...revokedSerials, ...serials])]) };
  };
}

export function allow({ node, serials }: NodeTarget): Change {
  return ({ nodes }) => {
    if (nodes === undefined) return {};
    const { revoked = [], revokedSerials = [] } = nodes;
    return {
      nodes: withLists(
        nodes,
        revoked.filter((one) => one !== node),
        revokedSerials.filter((one) => !serials.includes(one)),
      ),
    };
  };
}

/** @param names of all nodes; undefined where every name is good */
export function expect(names: readonly NodeName[] | undefined): Change {
  return ({ nodes: { revoked = [], revokedSerials = [] } = {} }) => ({
    nodes: withLists(names === undefined ? {} : { expected: [...names] }, revoked, revokedSerials),
  });
}
