// FleetService: clusters that come, change and go.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ClusterSchema } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { clusterMessage, isSameRecord, recordOfMessage } from "@claviger/gateway-core/src/registry/cluster-message.ts";
import type { Change } from "@claviger/gateway-core/src/registry/edit/change.ts";
import { newClusterUid } from "@claviger/gateway-core/src/registry/edit/uid.ts";
import { updateChange } from "@claviger/gateway-core/src/registry/edit/update.ts";
import { isLabelKey, isLabelValue, labelKeyRule, labelValueRule } from "@claviger/gateway-core/src/registry/labels.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { type Caller, checkNeed } from "../caller.ts";
import type { FleetMethods } from "../method.ts";
import { refuse } from "../refusal.ts";
import type { Scope } from "../scope.ts";
import { nodeOf, reasonOf } from "./request.ts";

/** Clusters in one import: as many as fit into a request. */
const mostImported = 100;

type ClusterInit = MessageInitShape<typeof ClusterSchema>;

/** @throws Refusal invalid_argument with everything that is wrong */
function recordOf(cluster: ClusterInit | undefined, newUid: () => string): ClusterRecord {
  if (cluster === undefined) throw refuse("invalid_argument", "cluster: is missing; it needs a name and a key");
  try {
    return recordOfMessage(cluster, newUid);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const where =
      cluster.name === undefined || cluster.name === "" ? "cluster" : `cluster ${cluster.name.slice(0, 64)}`;
    throw refuse("invalid_argument", `${where}: ${error.problems.join("; ")}`);
  }
}

/** Brings back what was closed: for administrators. */
function checkRestore(restore: boolean, caller: Caller): void {
  if (restore) checkNeed("admin", caller);
}

type Update = Parameters<FleetMethods["updateCluster"]>[0];

/** @throws Refusal invalid_argument */
function checkLabels({ setLabels, removeLabels }: Update): void {
  for (const key of [...Object.keys(setLabels), ...removeLabels])
    if (!isLabelKey(key)) throw refuse("invalid_argument", `label ${JSON.stringify(key)} must be ${labelKeyRule}`);
  for (const [key, value] of Object.entries(setLabels)) {
    if (!isLabelValue(value)) throw refuse("invalid_argument", `label ${key} must be ${labelValueRule}`);
    if (removeLabels.includes(key)) throw refuse("invalid_argument", `label ${key} is set and removed`);
  }
}

function rotationOf(text: string): ClusterRecord["rotation"] | undefined {
  if (text === "") return undefined;
  if (text !== "auto" && text !== "manual") throw refuse("invalid_argument", "rotation: must be auto or manual");
  return text;
}

/** @throws Refusal invalid_argument */
function changeOf(update: Update): Change {
  const { setLabels, removeLabels, requestsPerSecond, expectedNodes, anyNode } = update;
  checkLabels(update);
  const rotation = rotationOf(update.rotation);
  if (anyNode && expectedNodes.length > 0)
    throw refuse("invalid_argument", "give expected_nodes or any_node: one of the two");
  const names = expectedNodes.map(nodeOf);
  const hasLabels = Object.keys(setLabels).length + removeLabels.length > 0;
  const hasNodes = anyNode || names.length > 0;
  if (!hasLabels && !hasNodes && requestsPerSecond === 0 && rotation === undefined)
    throw refuse("invalid_argument", "nothing is to be changed: give labels, requests_per_second, rotation or nodes");
  return updateChange({
    setLabels,
    removeLabels,
    ...(requestsPerSecond !== 0 && { requestsPerSecond }),
    ...(rotation !== undefined && { rotation }),
    ...(hasNodes && { expectedNodes: anyNode ? "any" : names }),
  });
}

function differences(wanted: ClusterRecord, there: ClusterRecord): readonly string[] {
  const [a, b] = [clusterMessage(wanted), clusterMessage(there)];
  const fields = (Object.keys(a) as (keyof typeof a)[]).filter((field) => field !== "etag");
  return fields.filter((field) => JSON.stringify(a[field]) !== JSON.stringify(b[field]));
}

/** Those that are not there, and the names of those that are, in the same words. @throws Refusal with every other one */
function sorted(wanted: readonly ClusterRecord[], all: readonly ClusterRecord[]) {
  const known = new Map(all.map((record) => [record.name, record]));
  const problems = wanted.flatMap((record, i) => {
    const there = known.get(record.name);
    if (wanted.findIndex(({ name }) => name === record.name) !== i) return [`${record.name} stands twice`];
    return there === undefined || isSameRecord(record, there)
      ? []
      : [`${record.name} is there already, with another ${differences(record, there).join(", ")}`];
  });
  if (problems.length > 0)
    throw refuse(
      "failed_precondition",
      `nothing was imported, a record that is there is not changed: ${problems.join("; ")}`,
    );
  return {
    fresh: wanted.filter(({ name }) => !known.has(name)),
    present: wanted.flatMap(({ name }) => (known.has(name) ? [name] : [])),
  };
}

function namesText(names: readonly string[]): string {
  return names.length <= 3 ? names.join(", ") : `${names.slice(0, 3).join(", ")} and ${names.length - 3} more`;
}

export function clusterEditMethods(
  scope: Scope,
): Pick<FleetMethods, "addCluster" | "importClusters" | "updateCluster" | "removeCluster"> {
  return {
    async addCluster({ cluster, reason, restore, dryRun }, caller, subject) {
      checkRestore(restore, caller);
      const record = recordOf(cluster, newClusterUid);
      subject.target = record.name;
      subject.because = reasonOf(reason);
      const registryVersion = await scope.add(caller, [record], { restores: restore, dryRun });
      return { cluster: clusterMessage(record), registryVersion };
    },
    async importClusters({ clusters, reason, restore, dryRun }, caller, subject) {
      checkRestore(restore, caller);
      if (clusters.length === 0 || clusters.length > mostImported)
        throw refuse("invalid_argument", `clusters: must be 1 to ${mostImported}`);
      const records = clusters.map((cluster) =>
        recordOf(cluster, () => {
          throw refuse("invalid_argument", `cluster ${cluster.name}: an import needs its uid`);
        }),
      );
      subject.target = namesText(records.map(({ name }) => name));
      subject.because = reasonOf(reason);
      const { fresh, present } = sorted(records, await scope.all(caller));
      const registryVersion = fresh.length === 0 ? "" : await scope.add(caller, fresh, { restores: restore, dryRun });
      return { added: fresh.map(({ name }) => name), present, registryVersion };
    },
    async updateCluster(request, caller, subject) {
      const { name, ifEtag, dryRun, anyNode } = request;
      const change = changeOf(request);
      subject.because = reasonOf(request.reason);
      // What was closed is opened by an administrator.
      if (anyNode) checkNeed("admin", caller);
      return await scope.edit(caller, name, subject, change, { ifEtag, dryRun });
    },
    async removeCluster({ name, force, ifEtag, reason, dryRun }, caller, subject) {
      subject.because = reasonOf(reason);
      return await scope.remove(caller, name, subject, {
        ifEtag,
        dryRun,
        check({ state }) {
          if (!force && state !== "suspended")
            throw refuse(
              "failed_precondition",
              `${name} is ${state}: suspend it first, and see that nobody misses it; force removes it as it is`,
            );
        },
      });
    },
  };
}
