// What the service tells of itself and of the registry to those who follow it.
import { clusterName } from "@claviger/proto/wire/names.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { Caller } from "../caller.ts";
import type { Subject, UnaryName } from "../method.ts";
import { type AttentionSources, createAttentionWatch, noSources } from "./attention-watch.ts";
import type { By } from "./event.ts";
import { noSightings, type Sightings } from "../sightings.ts";
import { createEventHub } from "./hub.ts";
import { createNodeWatch } from "./node-watch.ts";
import { createRegistryWatch, type RegistryWatch } from "./registry-watch.ts";
import { createEventStreams, type EventStreams } from "./stream.ts";

export type FleetEvents = EventStreams &
  Pick<RegistryWatch, "begins" | "edited" | "close"> & {
    /** A call was answered. */
    called(method: UnaryName, caller: Caller, subject: Subject): void;
    /** A change waits for a second administrator. */
    asked(caller: Caller, subject: Subject, clusters: readonly string[]): void;
  };

/** What a call did, and why. */
export function byOf(caller: Caller, { because }: Subject): By | undefined {
  return caller.kind === "operator" ? { operator: caller.operator, because } : undefined;
}

const nodeEvents = { createNodeToken: "token-created", enrollNode: "node-enrolled" } as const;
const approvalEvents = { approveChange: "approval-approved", rejectChange: "approval-rejected" } as const;

function hasKey<T extends object>(table: T, key: PropertyKey): key is keyof T {
  return Object.hasOwn(table, key);
}

/** @param read all records */
export function createFleetEvents({
  read,
  sightings = noSightings,
  sources = noSources,
  lookMs,
  size,
  now = Date.now,
}: {
  readonly read: () => Promise<readonly ClusterRecord[]>;
  readonly sightings?: Sightings;
  /** What else may need a person. */
  readonly sources?: AttentionSources;
  readonly lookMs?: number;
  readonly size?: number;
  readonly now?: () => number;
}): FleetEvents {
  const hub = createEventHub(size);
  const usual = { read, hub, now, ...(lookMs !== undefined && { lookMs }) };
  const registry = createRegistryWatch(usual);
  const seen = { ...usual, sightings, isFollowed: () => registry.isFollowed() };
  const attention = createAttentionWatch({ ...seen, sources });
  const nodes = createNodeWatch({ ...seen, onLook: (...of) => attention.nodesSeen(...of) });
  const approval = (
    kind: "approval-asked" | (typeof approvalEvents)[keyof typeof approvalEvents],
    caller: Caller,
    subject: Subject,
    names: readonly string[],
  ): void => {
    const clusters = names.filter(clusterName.is);
    hub.publish({
      kind,
      at: now(),
      by: byOf(caller, subject),
      approval: subject.approval ?? "",
      clusters,
      records: clusters.map((name) => registry.seen(name)),
    });
  };
  return {
    ...createEventStreams({
      hub,
      now,
      async follow() {
        const end = await registry.follow();
        await nodes.begin();
        await attention.begin();
        return end;
      },
    }),
    begins: (name) => registry.begins(name),
    edited: (...of) => registry.edited(...of),
    close: () => registry.close(),
    called(method, caller, subject) {
      if (!registry.isFollowed()) return;
      const [cluster = "", node = ""] = (subject.target ?? "").split("/");
      if (hasKey(nodeEvents, method) && clusterName.is(cluster))
        hub.publish({
          kind: nodeEvents[method],
          at: now(),
          by: byOf(caller, subject),
          cluster,
          record: registry.seen(cluster),
          node,
        });
      if (hasKey(approvalEvents, method)) approval(approvalEvents[method], caller, subject, cluster.split(","));
    },
    asked(caller, subject, clusters) {
      if (registry.isFollowed()) approval("approval-asked", caller, subject, clusters);
    },
  };
}
