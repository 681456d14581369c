// FleetService: clusters, as they are and what they may do.
import { isSelected } from "@claviger/gateway-core/src/registry/labels.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { clusterMessage } from "@claviger/gateway-core/src/registry/cluster-message.ts";
import { kindsOfChange } from "../approvals/kinds.ts";
import { checkNeed } from "../caller.ts";
import type { FleetMethods } from "../method.ts";
import { refuse } from "../refusal.ts";
import type { Scope } from "../scope.ts";
import { pageOf, reasonOf, selectorOf } from "./request.ts";

const states: ReadonlySet<string> = new Set(["active", "decrypt-only", "suspended"] satisfies ClusterRecord["state"][]);
function isState(text: string): text is ClusterRecord["state"] {
  return states.has(text);
}

export function clusterMethods(scope: Scope): Pick<FleetMethods, "listClusters" | "getCluster" | "setClusterState"> {
  return {
    async listClusters(request, caller) {
      const selector = selectorOf(request.selector);
      const all = await scope.all(caller);
      const { page, nextPageToken } = pageOf(request, { usual: 100, most: 1000 }, () =>
        all.filter(({ labels }) => isSelected(selector, labels)),
      );
      return { clusters: page.map(clusterMessage), nextPageToken, problem: scope.problem() };
    },
    async getCluster({ name }, caller, subject) {
      return { cluster: clusterMessage(await scope.one(caller, name, subject)) };
    },
    async setClusterState({ name, state, reason, ifEtag, dryRun }, caller, subject) {
      if (!isState(state)) throw refuse("invalid_argument", `state: must be one of ${[...states].join(", ")}`);
      subject.because = reasonOf(reason);
      // What was closed is opened by an administrator.
      if (state === "active") checkNeed("admin", caller);
      return await scope.edit(caller, name, subject, () => ({ state }), {
        ifEtag,
        dryRun,
        // One that is suspended would decrypt again.
        check: (record) => {
          if (kindsOfChange(record, { state }).length > 0) checkNeed("admin", caller);
        },
      });
    },
  };
}
