// FleetService: clusters.
import { create } from "@bufbuild/protobuf";
import * as pb from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { isSelected } from "@claviger/gateway-core/src/registry/labels.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { checkNeed } from "../caller.ts";
import type { FleetMethods } from "../method.ts";
import { refuse } from "../refusal.ts";
import type { Scope } from "../scope.ts";
import { reasonOf } from "./request.ts";

const pages = { usual: 100, most: 1000 } as const;

export function messageOf({ name, uid, state, generation, rotation, keys, labels, nodes }: ClusterRecord): pb.Cluster {
  return create(pb.ClusterSchema, {
    name,
    uid,
    state,
    generation: BigInt(generation),
    rotation,
    keys: keys.map(({ backend, namespace = "", mount, key }) => ({ backend, namespace, mount, key })),
    labels: { ...labels },
    expectedNodes: [...(nodes?.expected ?? [])],
    revokedNodes: [...(nodes?.revoked ?? [])],
    revokedSerials: [...(nodes?.revokedSerials ?? [])],
  });
}

const states: ReadonlySet<string> = new Set(["active", "decrypt-only", "suspended"] satisfies ClusterRecord["state"][]);
function isState(text: string): text is ClusterRecord["state"] {
  return states.has(text);
}

export function clusterMethods(scope: Scope): Pick<FleetMethods, "listClusters" | "getCluster" | "setClusterState"> {
  return {
    async listClusters({ pageSize, pageToken, matchLabels }, caller) {
      if (pageSize > pages.most) throw refuse("invalid_argument", `page_size: must be at most ${pages.most}`);
      const wanted = (await scope.all(caller)).filter(
        ({ name, labels }) => name > pageToken && isSelected({ matchLabels }, labels),
      );
      const page = wanted.slice(0, pageSize === 0 ? pages.usual : pageSize);
      return {
        clusters: page.map(messageOf),
        nextPageToken: page.length < wanted.length ? (page.at(-1)?.name ?? "") : "",
      };
    },
    async getCluster({ name }, caller, subject) {
      return { cluster: messageOf(await scope.one(caller, name, subject)) };
    },
    async setClusterState({ name, state, reason }, caller, subject) {
      if (!isState(state)) throw refuse("invalid_argument", `state: must be one of ${[...states].join(", ")}`);
      subject.because = reasonOf(reason);
      // What was closed is opened by an administrator.
      if (state === "active") checkNeed("admin", caller);
      return { cluster: messageOf(await scope.change(caller, name, subject, () => ({ state }))) };
    },
  };
}
