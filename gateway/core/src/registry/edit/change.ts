// What a command changes in a record. (docs/architecture.md #registry.)
import { isDeepStrictEqual } from "node:util";
import type { ClusterRecord } from "../record.ts";

export type Changeable = Partial<Pick<ClusterRecord, "state" | "nodes" | "labels" | "limits" | "rotation">>;

/** The result is what differs, by what the record holds; undefined for nothing. */
export type Change = (record: ClusterRecord) => Changeable;

/** What a gateway may read late and does nothing wrong by. */
const unhurried: ReadonlySet<string> = new Set(["labels", "limits", "rotation"] satisfies (keyof Changeable)[]);

/**
 * The fields that a change gives another value, the generation among them; undefined where none. Labels,
 * limits and the rotation raise no generation, as labels in Kubernetes: a gateway that has not read them
 * does nothing wrong, and a raised one would give up a version that a restored backend has lost.
 */
export function changedFields(
  record: ClusterRecord,
  next: Change,
): (Changeable & Partial<Pick<ClusterRecord, "generation">>) | undefined {
  const changed = next(record);
  const fields = Object.keys(changed) as (keyof Changeable)[];
  const differing = fields.filter((field) => !isDeepStrictEqual(changed[field], record[field]));
  if (differing.length === 0) return undefined;
  return differing.every((field) => unhurried.has(field)) ? changed : { ...changed, generation: record.generation + 1 };
}
