// One operator's stream of events: what concerns clusters of theirs, a sign of life where nothing happens, and its
// end where they may not follow any longer or do not read.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { WatchEventsResponseSchema } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { Operator } from "../caller.ts";
import { clusterMessage } from "@claviger/gateway-core/src/registry/cluster-message.ts";
import { refuse } from "../refusal.ts";
import type { By, FleetEvent } from "./event.ts";
import type { EventHub } from "./hub.ts";
import type { RegistryWatch } from "./registry-watch.ts";

const heartbeatMs = 10_000;
/** Of one operator at the same time, and of all. */
const most = { own: 5, all: 200 } as const;

type Message = MessageInitShape<typeof WatchEventsResponseSchema>;

export type EventStreams = {
  /** @throws Refusal resource_exhausted, and what the registry is not read for */
  watch(caller: Operator, cursor: string, signal: AbortSignal): AsyncIterable<Message>;
};

function timeOf(milliseconds: number): { readonly seconds: bigint; readonly nanos: number } {
  return { seconds: BigInt(Math.floor(milliseconds / 1000)), nanos: (Math.floor(milliseconds) % 1000) * 1_000_000 };
}

function whoOf(by: By | undefined): { readonly operator: string; readonly reason: string } {
  return { operator: by?.operator ?? "", reason: by?.because ?? "" };
}

/** An event as one operator sees it; undefined for none of theirs. */
function seenBy({ mayTouch, clusters }: Operator, event: FleetEvent): Message | undefined {
  const isOwn = (record: ClusterRecord | undefined): boolean =>
    record === undefined ? clusters === "" : mayTouch(record);
  const common = { at: timeOf(event.at), ...whoOf(event.by) };
  switch (event.kind) {
    case "cluster": {
      // A cluster whose labels change comes, or goes, for whoever is for one of the two alone.
      const [before, after] = [event.before, event.after].map((record) =>
        record !== undefined && mayTouch(record) ? record : undefined,
      );
      if (after === undefined)
        return (
          before && {
            ...common,
            kind: "cluster-removed",
            cluster: before.name,
            operator: "",
            reason: "",
            ...(event.after === undefined && whoOf(event.by)),
          }
        );
      const kind = before === undefined ? "cluster-added" : "cluster-changed";
      return { ...common, kind, cluster: after.name, record: clusterMessage(after) };
    }
    case "node-revoked":
    case "node-allowed": {
      const { record, kind, node = "", serials = [] } = event;
      return isOwn(record) ? { ...common, kind, cluster: record.name, node, serials: [...serials] } : undefined;
    }
    case "node-first-seen":
    case "node-back":
    case "node-lost":
    case "node-phase": {
      const { record, kind, node, phase, before } = event;
      if (!isOwn(record)) return undefined;
      return {
        ...common,
        kind,
        cluster: record.name,
        node,
        ...(phase !== undefined && kind !== "node-lost" && { phase }),
        ...(before !== undefined && kind === "node-phase" && { previousPhase: before }),
      };
    }
    case "attention":
      return event.records.some((record) => record === undefined || mayTouch(record))
        ? { ...common, kind: "attention-changed" }
        : undefined;
    case "token-created":
    case "node-enrolled": {
      const { record, kind, cluster, node } = event;
      return isOwn(record) ? { ...common, kind, cluster, node } : undefined;
    }
    case "approval-asked":
    case "approval-approved":
    case "approval-rejected": {
      const { kind, approval, records, clusters: names } = event;
      return records.every(isOwn) ? { ...common, kind, approval, cluster: names.join(",") } : undefined;
    }
  }
}

export function createEventStreams({
  hub,
  follow: begin,
  now = Date.now,
}: {
  readonly hub: EventHub;
  /** As of RegistryWatch. */
  readonly follow: RegistryWatch["follow"];
  readonly now?: () => number;
}): EventStreams {
  const open = new Map<string, number>();
  const enter = (operator: string): (() => void) => {
    const own = open.get(operator) ?? 0;
    if (own >= most.own)
      throw refuse("resource_exhausted", `${operator} has ${own} streams of events; end one of them`);
    if ([...open.values()].reduce((sum, one) => sum + one, 0) >= most.all)
      throw refuse("resource_exhausted", `there are ${most.all} streams of events; try again later`);
    open.set(operator, own + 1);
    return () => {
      const left = (open.get(operator) ?? 1) - 1;
      if (left === 0) open.delete(operator);
      else open.set(operator, left);
    };
  };

  async function* follow(caller: Operator, asked: string, signal: AbortSignal): AsyncGenerator<Message> {
    let sentAt = 0;
    let cursor = asked === "" || hub.after(asked).isGap ? hub.cursor() : asked;
    const sign = (kind: string): Message => {
      sentAt = now();
      return { kind, cursor, at: timeOf(sentAt) };
    };
    yield sign(asked === "" || asked === cursor ? "heartbeat" : "list-again");
    while (!signal.aborted) {
      const { isGap, events } = hub.after(cursor);
      if (isGap)
        throw refuse(
          "resource_exhausted",
          "the events are not read as fast as they happen; list again, and watch anew",
        );
      for (const { event, cursor: after } of events) {
        const message = seenBy(caller, event);
        cursor = after;
        if (message === undefined) continue;
        sentAt = now();
        yield { ...message, cursor };
        if (signal.aborted) return;
      }
      const left = heartbeatMs - (now() - sentAt);
      if (left <= 0) yield sign("heartbeat");
      else await hub.wait(cursor, left, signal);
    }
  }

  return {
    async *watch(caller, cursor, signal) {
      const leave = enter(caller.operator);
      try {
        const end = await begin();
        try {
          yield* follow(caller, cursor, signal);
        } finally {
          end();
        }
      } finally {
        leave();
      }
    },
  };
}
