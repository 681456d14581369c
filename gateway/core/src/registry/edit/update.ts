// A change of what operators set in a record: labels, limits, rotation and expected nodes.
// (docs/architecture.md #registry.)
import type { NodeName } from "@claviger/proto/wire/names.ts";
import type { Labels } from "../labels.ts";
import type { ClusterRecord } from "../record.ts";
import type { Change } from "./change.ts";
import { expect } from "./nodes.ts";

/** What is absent stays as it is. */
export type RecordUpdate = {
  /** Labels that the cluster gets, or gets with this value. */
  readonly setLabels: Labels;
  /** The keys of labels that it loses. */
  readonly removeLabels: readonly string[];
  readonly requestsPerSecond?: number;
  readonly rotation?: ClusterRecord["rotation"];
  /** The names of all its nodes; `any`: every name is good. */
  readonly expectedNodes?: readonly NodeName[] | "any";
};

export function updateChange(update: RecordUpdate): Change {
  const { setLabels, removeLabels, requestsPerSecond, rotation, expectedNodes } = update;
  return (record) => {
    const kept = Object.entries(record.labels ?? {}).filter(([key]) => !removeLabels.includes(key));
    const labels = { ...Object.fromEntries(kept), ...setLabels };
    // A record without labels is not one with none.
    const hasLabels = record.labels !== undefined || Object.keys(labels).length > 0;
    const names = expectedNodes === "any" ? undefined : [...new Set(expectedNodes)].toSorted();
    return {
      ...(hasLabels && { labels }),
      ...(expectedNodes !== undefined && expect(names)(record)),
      ...(requestsPerSecond !== undefined && { limits: { requestsPerSecond } }),
      ...(rotation !== undefined && { rotation }),
    };
  };
}
