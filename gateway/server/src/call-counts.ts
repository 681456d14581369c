// How many calls there were of each cluster, and how many were not served: what the histories of the fleet are
// made of. A request costs a look-up and an addition. (docs/architecture.md #histories.)
import type { Counts } from "@claviger/gateway-core/src/redis/histories.ts";
import type { Reason } from "@claviger/proto/wire/errors.ts";
import type { ClusterUid } from "@claviger/proto/wire/names.ts";
import type { Operation } from "./kms/admission.ts";

export interface CallCounts {
  /**
   * @param cluster undefined where the registry has none: counted in the whole alone
   * @param calls those of the request, each with why it was not served; none where it did not come to any
   * @param reason why the request as a whole was not served, and with it every call that has no reason of its own
   */
  add(
    cluster: ClusterUid | undefined,
    operation: Operation,
    calls: readonly { readonly reason?: Reason }[],
    reason: Reason | undefined,
  ): void;
  /** What was counted since it was asked last. */
  take(): Counts & { readonly clusters: Readonly<Record<string, Counts>> };
}

type Row = { readonly calls: [number, number, number]; readonly refusals: Partial<Record<Reason, number>> };

const places = { status: 0, encrypt: 1, decrypt: 2 } as const satisfies Record<Exclude<Operation, "none">, number>;

function newRow(): Row {
  return { calls: [0, 0, 0], refusals: {} };
}

export function createCallCounts(): CallCounts {
  let all = newRow();
  // As many as the registry has clusters.
  let rows = new Map<ClusterUid, Row>();
  return {
    add(cluster, operation, calls, reason) {
      let row = cluster && rows.get(cluster);
      if (row === undefined && cluster !== undefined) rows.set(cluster, (row = newRow()));
      const count = Math.max(1, calls.length);
      const refuse = (why: Reason): void => {
        all.refusals[why] = (all.refusals[why] ?? 0) + 1;
        if (row !== undefined) row.refusals[why] = (row.refusals[why] ?? 0) + 1;
      };
      if (operation !== "none") {
        all.calls[places[operation]] += count;
        if (row !== undefined) row.calls[places[operation]] += count;
      }
      if (reason !== undefined && calls.length === 0) refuse(reason);
      for (const call of calls) {
        const why = call.reason ?? reason;
        if (why !== undefined) refuse(why);
      }
    },
    take() {
      const taken = { ...all, clusters: Object.fromEntries(rows) };
      all = newRow();
      rows = new Map();
      return taken;
    },
  };
}

/** Where nobody reads them. */
export const noCallCounts: CallCounts = {
  add: () => {},
  take: () => ({ ...newRow(), clusters: {} }),
};
