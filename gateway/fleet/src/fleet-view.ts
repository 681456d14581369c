// The nodes of clusters as their records and what gateways have seen say together. (docs/architecture.md #fleet-view.)
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { ClusterView } from "./attention/nodes.ts";
import { nodesOf } from "./node-view.ts";
import type { Incomplete, SeenNodes, Sightings } from "./sightings.ts";

export type SeenClusters = {
  readonly clusters: readonly ClusterView[];
  readonly incomplete: readonly Incomplete[];
};

/** What is not known, in words; empty where everything is. */
export function textOf(incomplete: readonly Incomplete[]): string {
  return [...new Set(incomplete.map(({ text }) => text))].join("; ");
}

/** The nodes of clusters. @param at Unix milliseconds */
export function clusterViews(
  records: readonly ClusterRecord[],
  { nodes, incomplete }: SeenNodes,
  at: number,
): readonly ClusterView[] {
  const isComplete = incomplete.every(({ kind }) => kind === "refused");
  return records.map((record) => ({ record, nodes: nodesOf(record, nodes.get(record.uid) ?? [], isComplete, at) }));
}

/** @returns the nodes of some clusters; it does not reject. @param now Unix milliseconds */
export function createFleetReader(
  sightings: Pick<Sightings, "nodes">,
  now: () => number,
): (records: readonly ClusterRecord[]) => Promise<SeenClusters> {
  return async (records) => {
    const seen = await sightings.nodes(records.map(({ uid }) => uid));
    return { clusters: clusterViews(records, seen, now()), incomplete: seen.incomplete };
  };
}
