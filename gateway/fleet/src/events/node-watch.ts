// Tells what gateways see of nodes: a new one, one that changes its phase, one that is not seen any more and one that
// comes back. It looks while somebody follows. (docs/control-plane.md.)
import type { ClusterUid, NodeName } from "@claviger/proto/wire/names.ts";
import { nodeRefusal } from "@claviger/gateway-core/src/registry/nodes.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { notSeenMs } from "../node-view.ts";
import type { SeenNodes, Sightings } from "../sightings.ts";
import type { EventHub } from "./hub.ts";
import { createLookLoop } from "./look-loop.ts";

/** Gateways write a change within a second. */
const usualLookMs = 2000;

/** `at`: when it was seen last, Unix milliseconds. */
type Seen = { readonly at: number; readonly phase: number | undefined; readonly serial: string };
type Known = Seen & { readonly isLive: boolean };

export interface NodeWatch {
  /** Looks until nobody follows any more. Resolves after the first look: what comes then is news. Never rejects. */
  begin(): Promise<void>;
}

export function createNodeWatch({
  read,
  sightings,
  hub,
  isFollowed,
  onLook = () => {},
  lookMs = usualLookMs,
  now = Date.now,
}: {
  /** All records. */
  readonly read: () => Promise<readonly ClusterRecord[]>;
  readonly sightings: Pick<Sightings, "nodes">;
  readonly hub: Pick<EventHub, "publish">;
  readonly isFollowed: () => boolean;
  /** Hears of what each look has found. */
  readonly onLook?: (records: readonly ClusterRecord[], seen: SeenNodes) => void;
  readonly lookMs?: number;
  readonly now?: () => number;
}): NodeWatch {
  /** Undefined until the first look: what is there then is no news. */
  let known: Map<ClusterUid, Map<NodeName, Known>> | undefined;

  const take = (
    record: ClusterRecord,
    node: NodeName,
    seen: Seen,
    before: Known | undefined,
    isNews: boolean,
  ): Known => {
    const isLive = now() - seen.at < notSeenMs;
    const tell = (kind: "node-first-seen" | "node-phase" | "node-lost" | "node-back"): void =>
      hub.publish({ kind, at: now(), record, node, phase: seen.phase, before: before?.phase });
    // Whose Status is refused is not seen, and everybody knows why.
    const isRefused = record.state !== "active" || nodeRefusal(record, { node, serial: seen.serial }) !== undefined;
    if (before === undefined) {
      if (isNews && isLive) tell("node-first-seen");
    } else if (isLive !== before.isLive) {
      if (isLive) tell("node-back");
      else if (!isRefused) tell("node-lost");
    } else if (isLive && before.phase !== undefined && seen.phase !== undefined && seen.phase !== before.phase)
      tell("node-phase");
    return { ...seen, isLive };
  };

  const look = async (): Promise<void> => {
    const records = await read();
    const seen = await sightings.nodes(records.map(({ uid }) => uid));
    onLook(records, seen);
    const { nodes, incomplete } = seen;
    if (incomplete.some(({ kind }) => kind === "none" || kind === "away")) return;
    // A Redis that was emptied hears of every node anew.
    const isNews = known !== undefined && incomplete.every(({ kind }) => kind !== "young");
    const next = new Map<ClusterUid, Map<NodeName, Known>>();
    for (const record of records) {
      const before = known?.get(record.uid) ?? new Map<NodeName, Known>();
      const reports = (nodes.get(record.uid) ?? []).map(
        ({ node, at, shim, certificate: { serial } }) => [node, { at, phase: shim?.phase, serial }] as const,
      );
      const all = new Map<NodeName, Seen>([...before, ...reports]);
      next.set(
        record.uid,
        new Map([...all].map(([node, seen]) => [node, take(record, node, seen, before.get(node), isNews)])),
      );
    }
    known = next;
  };

  const begin = createLookLoop({
    look,
    lookMs,
    isFollowed,
    onEnd: () => {
      known = undefined;
    },
  });
  return {
    begin,
  };
}
