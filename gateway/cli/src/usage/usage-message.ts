// What was counted in a cluster's etcds, as the fleet service takes it.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ClusterUsageSchema } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import type { Objects, Usage } from "./count.ts";
import type { EtcdSource } from "./sources.ts";

export type UsageMessage = MessageInitShape<typeof ClusterUsageSchema>;

/** Of one request: the service takes 65,536 bytes. */
const mostExamples = 5;

function objectsOf({ count, examples }: Objects) {
  return { count, examples: examples.slice(0, mostExamples) };
}

/** @param began when the count began, Unix milliseconds */
export function usageMessage(
  cluster: string,
  usage: Usage,
  sources: readonly EtcdSource[],
  began: number,
): UsageMessage {
  return {
    cluster,
    uses: usage.uses.map(({ clusterUid, backend, key, version, keyId, ...rest }) => ({
      clusterUid,
      backend,
      key,
      version,
      keyId,
      ...objectsOf(rest),
    })),
    foreign: usage.foreign.map(({ provider, version = 0, ...rest }) => ({ provider, version, ...objectsOf(rest) })),
    damaged: usage.damaged.slice(0, mostExamples),
    damagedCount: usage.damaged.length,
    fromSnapshot: sources.some(({ kind }) => kind === "snapshot"),
    countedAt: { seconds: BigInt(Math.floor(began / 1000)), nanos: 0 },
  };
}
