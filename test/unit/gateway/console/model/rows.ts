// Rows of the fleet's table, for tests.
import type { ClusterStatus } from "@claviger/console/src/api/json.ts";
import { type FleetRow, rowOf } from "@claviger/console/src/model/row.ts";

/** A cluster that is well, but for what is said. */
export function row(cluster: string, more: Partial<ClusterStatus> = {}): FleetRow {
  return rowOf({ cluster, state: "active", nodesExpected: 3, nodes: { ok: 3 }, phase: 0, keyVersion: 1, ...more });
}
