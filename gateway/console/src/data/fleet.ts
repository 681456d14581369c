// All clusters as rows of a table: read page by page, shown from the first page on, and kept in step with what
// happens to their records.
import type { Api } from "../api/client.ts";
import type { FleetEvent } from "../api/json.ts";
import { type FleetRow, rowOf, withRecord } from "../model/row.ts";

export type Fleet = {
  readonly rows: readonly FleetRow[];
  /** Are these all? */
  readonly isWhole: boolean;
  readonly incomplete: string;
};

/** The first page fills the screen, the others are as large as they may be. */
const pageSizes = { first: 100, next: 1000 } as const;

export async function loadFleet(api: Pick<Api, "call">, publish: (part: Fleet) => void): Promise<Fleet> {
  const rows: FleetRow[] = [];
  /** Each page says it with its own numbers. */
  const incomplete = new Map<string, string>();
  let pageToken = "";
  do {
    const reply = await api.call("listClusterStatus", {
      pageSize: pageToken === "" ? pageSizes.first : pageSizes.next,
      pageToken,
    });
    for (const status of reply.clusters ?? []) rows.push(rowOf(status));
    if (reply.incomplete !== undefined && reply.incomplete !== "")
      incomplete.set(reply.incomplete.replaceAll(/\d+/g, ""), reply.incomplete);
    pageToken = reply.nextPageToken ?? "";
    if (pageToken !== "") publish({ rows: [...rows], isWhole: false, incomplete: [...incomplete.values()].join("; ") });
  } while (pageToken !== "");
  return { rows, isWhole: true, incomplete: [...incomplete.values()].join("; ") };
}

/** What an event makes of the rows at once. A cluster that is new comes with the next reading. */
export function afterEvent(fleet: Fleet, { kind, cluster, record }: FleetEvent): Fleet {
  if (kind === "cluster-removed") return { ...fleet, rows: fleet.rows.filter(({ name }) => name !== cluster) };
  if (kind !== "cluster-changed" || record === undefined) return fleet;
  return { ...fleet, rows: fleet.rows.map((row) => (row.name === cluster ? withRecord(row, record) : row)) };
}
