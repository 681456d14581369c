// Clusters in the registry itself, with the operator's own credentials.
import type { Cluster } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { nodeName } from "@claviger/proto/wire/names.ts";
import { clusterMessage, etagOf, recordOfMessage } from "@claviger/gateway-core/src/registry/cluster-message.ts";
import { type Change, changedFields } from "@claviger/gateway-core/src/registry/edit/change.ts";
import { EditError } from "@claviger/gateway-core/src/registry/edit/error.ts";
import { allow, revoke } from "@claviger/gateway-core/src/registry/edit/nodes.ts";
import { newClusterUid } from "@claviger/gateway-core/src/registry/edit/uid.ts";
import { updateChange } from "@claviger/gateway-core/src/registry/edit/update.ts";
import { isSelected } from "@claviger/gateway-core/src/registry/labels.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { Fleet } from "../fleet.ts";
import { parseSelector } from "../labels.ts";
import type { Changed, ClusterEditor, How, KeyPlaces, Update } from "./editor.ts";
import { importRecords } from "../registry-move.ts";

function checkEtag(record: ClusterRecord, { ifEtag }: How): void {
  if (ifEtag !== undefined && etagOf(record) !== ifEtag)
    throw new EditError(`${record.name} was changed since you looked at it; look at it and run this again`, "conflict");
}

function isState(text: Cluster["state"]): text is ClusterRecord["state"] {
  return text === "active" || text === "decrypt-only" || text === "suspended";
}

function changeOf({ expectedNodes = [], anyNode = false, rotation = "", ...rest }: Update): Change {
  return updateChange({
    setLabels: rest.setLabels ?? {},
    removeLabels: rest.removeLabels ?? [],
    ...(rest.requestsPerSecond !== undefined && { requestsPerSecond: rest.requestsPerSecond }),
    ...((rotation === "auto" || rotation === "manual") && { rotation }),
    ...(anyNode && { expectedNodes: "any" as const }),
    ...(expectedNodes.length > 0 && { expectedNodes: expectedNodes.map((name) => nodeName.parse(name)) }),
  });
}

export function directClusters({ registry, config }: Pick<Fleet, "registry" | "config">): ClusterEditor {
  const edit = async (name: string, next: Change, how: How): Promise<Changed> => {
    const guarded: Change = (record) => {
      checkEtag(record, how);
      return next(record);
    };
    if (how.dryRun) {
      const record = await registry.one(name);
      return { cluster: clusterMessage({ ...record, ...changedFields(record, guarded) }), version: "" };
    }
    const { earlier, version } = await registry.change(name, guarded);
    return { cluster: clusterMessage({ ...earlier, ...changedFields(earlier, next) }), version };
  };
  const places = async (): Promise<KeyPlaces> => {
    const refs = [...(await registry.all("empty")).values()].flatMap(({ keys }) => keys);
    const all = [...refs, ...(config.integrity === undefined ? [] : [config.integrity])];
    return {
      backends: Object.keys(config.backends),
      mountsOf: (backend) => all.filter((ref) => ref.backend === backend).map(({ mount }) => mount),
      unknown: "is not in the configuration",
    };
  };
  return {
    where: registry.name,
    places,
    async list(selector) {
      const wanted = parseSelector(selector);
      const all = [...(await registry.all()).values()];
      return { clusters: all.filter(({ labels }) => isSelected(wanted, labels)).map(clusterMessage), problem: "" };
    },
    get: async (name) => clusterMessage(await registry.one(name)),
    async add(cluster, { dryRun }) {
      const record = recordOfMessage(cluster, newClusterUid);
      const { version } = await registry.add([record], { dryRun });
      return { cluster: clusterMessage(record), version: dryRun ? "" : version };
    },
    update: (name, update, how) => edit(name, changeOf(update), how),
    nodes: (name, verb, target, how) => edit(name, verb === "revoke" ? revoke(target) : allow(target), how),
    setState: (name, state, how) => {
      if (!isState(state)) throw new TypeError(`${state} is no state of a cluster`);
      return edit(name, () => ({ state }), how);
    },
    async remove(name, _, how) {
      const record = await registry.one(name);
      checkEtag(record, how);
      const { version } = how.dryRun ? { version: "" } : await registry.remove(name);
      return { cluster: clusterMessage(record), version };
    },
    async importText(options) {
      const { added, present, version } = await importRecords(registry, options);
      return { added, present, version: options.dryRun || added.length === 0 ? "" : version };
    },
  };
}
