// Clusters through the fleet service.
import { toBinary } from "@bufbuild/protobuf";
import { type Cluster, ClusterSchema } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { clusterMessage } from "@claviger/gateway-core/src/registry/cluster-message.ts";
import { mergeRegistry } from "@claviger/gateway-core/src/registry/merge.ts";
import { CliError } from "../commander.ts";
import type { FleetClient } from "../fleet-client.ts";
import { parseSelector } from "../labels.ts";
import type { Changed, ClusterEditor, ImportedCluster } from "./editor.ts";

const pageSize = 1000;
/** Of one request: the service takes 65,536 bytes and 100 clusters. */
const most = { clusters: 100, bytes: 48_000 } as const;

/** The service's gateways know which backends there are. */
const anyBackend = { has: () => true };

type Reply = { readonly cluster?: Cluster | undefined; readonly registryVersion: string };

function changedOf({ cluster, registryVersion }: Reply): Changed {
  return { cluster: clusterOf(cluster), version: registryVersion };
}

function clusterOf(cluster: Cluster | undefined): Cluster {
  if (cluster === undefined)
    throw new CliError("the fleet service gives no cluster in its answer; is it another release?");
  return cluster;
}

/** @throws ConfigError with everything that is wrong */
function readText(source: string, text: string): readonly Cluster[] {
  const { registry, problems } = mergeRegistry(source, text, anyBackend, undefined);
  if (problems.length > 0) throw new ConfigError(source, problems);
  return [...registry.values()].map(clusterMessage);
}

/** As many as fit into a request, in their order. */
function batchesOf(clusters: readonly Cluster[]): readonly (readonly Cluster[])[] {
  const batches: Cluster[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const cluster of clusters) {
    const size = toBinary(ClusterSchema, cluster).length + 8;
    const last = batches.at(-1);
    if (last === undefined || bytes + size > most.bytes || last.length >= most.clusters) {
      batches.push([cluster]);
      bytes = size;
    } else {
      last.push(cluster);
      bytes += size;
    }
  }
  return batches;
}

/** @param reason asked for by each change */
export function serviceClusters(client: FleetClient, where: string, reason: () => string): ClusterEditor {
  const list: ClusterEditor["list"] = async (selector) => {
    parseSelector(selector);
    const clusters: Cluster[] = [];
    let pageToken = "";
    for (;;) {
      const page = await client.listClusters({ selector, pageSize, pageToken });
      clusters.push(...page.clusters);
      if (page.nextPageToken === "") return { clusters, problem: page.problem };
      pageToken = page.nextPageToken;
    }
  };
  return {
    where,
    list,
    get: async (name) => clusterOf((await client.getCluster({ name })).cluster),
    async places() {
      const keys = (await list("")).clusters.flatMap((cluster) => cluster.keys);
      return {
        backends: [...new Set(keys.map(({ backend }) => backend))],
        mountsOf: (backend) => keys.filter((key) => key.backend === backend).map(({ mount }) => mount),
        unknown: "is that of no cluster yet",
      };
    },
    add: async (cluster, { dryRun }) => changedOf(await client.addCluster({ cluster, dryRun, reason: reason() })),
    update: async (name, update, { dryRun, ifEtag = "" }) =>
      changedOf(await client.updateCluster({ name, ...update, dryRun, ifEtag, reason: reason() })),
    async nodes(name, verb, { node = "", serials }, { dryRun }) {
      const request = { cluster: name, node, serials: [...serials], dryRun, reason: reason() };
      return changedOf(await (verb === "revoke" ? client.revokeNode(request) : client.allowNode(request)));
    },
    setState: async (name, state, { dryRun, ifEtag = "" }) =>
      changedOf(await client.setClusterState({ name, state, dryRun, ifEtag, reason: reason() })),
    remove: async (name, force, { dryRun, ifEtag = "" }) =>
      changedOf(await client.removeCluster({ name, force, dryRun, ifEtag, reason: reason() })),
    async importText({ source, text, dryRun, restore }) {
      const batches = batchesOf(readText(source, text));
      const [added, present]: [ImportedCluster[], ImportedCluster[]] = [[], []];
      let version = "";
      // What is wrong with one of them leaves all of them out, as far as that can be told before.
      for (const isTrial of dryRun ? [true] : [true, false])
        for (const clusters of batches) {
          const request = { clusters: [...clusters], dryRun: isTrial, restore, reason: reason() };
          const reply = await client.importClusters(request);
          if (isTrial !== dryRun) continue;
          const uids = new Map(clusters.map(({ name, uid }) => [name, uid]));
          const named = (name: string): ImportedCluster => ({ name, uid: uids.get(name) ?? "" });
          added.push(...reply.added.map(named));
          present.push(...reply.present.map(named));
          if (reply.registryVersion !== "") version = reply.registryVersion;
        }
      return { added, present, version };
    },
  };
}
