// Tells that something else needs a person than before: found out once, for everybody who follows. What it is, each of
// them asks. It looks while somebody follows. (docs/control-plane.md #approvals-and-events.)
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { attentionOf, type FleetView } from "../attention/attention.ts";
import { type AttentionItem, clusterOf } from "../attention/item.ts";
import { oldKeyItem } from "../attention/keys.ts";
import { clusterItems } from "../attention/nodes.ts";
import { clusterViews } from "../fleet-view.ts";
import { type KeyAges, noKeyAges } from "../keys/ages.ts";
import type { SeenNodes, Sightings } from "../sightings.ts";
import type { EventHub } from "./hub.ts";
import { createLookLoop } from "./look-loop.ts";

/** A gateway reports itself every second, and a look at all of them is one value of Redis. */
const usualLookMs = 1000;

/** What is asked beside what gateways say. */
export type AttentionSources = {
  readonly ages: KeyAges;
  readonly registryProblem: () => string;
  readonly certificates: () => FleetView["certificates"];
};

export const noSources: AttentionSources = { ages: noKeyAges, registryProblem: () => "", certificates: () => [] };

export interface AttentionWatch {
  /** Takes note of what a look at all nodes has found. */
  nodesSeen(records: readonly ClusterRecord[], seen: SeenNodes): void;
  /** Looks until nobody follows any more. Resolves after the first look: what comes then is news. Never rejects. */
  begin(): Promise<void>;
}

/** What makes an item another one. How busy a gateway is changes with each look. */
function idOf({ kind, target, cause }: AttentionItem): string {
  return [kind, target, kind === "gateway_busy" ? "" : cause].join("\n");
}

export function createAttentionWatch({
  sightings,
  sources: { ages, registryProblem, certificates },
  hub,
  isFollowed,
  lookMs = usualLookMs,
  now = Date.now,
}: {
  readonly sightings: Pick<Sightings, "gateways">;
  readonly sources: AttentionSources;
  readonly hub: Pick<EventHub, "publish">;
  readonly isFollowed: () => boolean;
  readonly lookMs?: number;
  readonly now?: () => number;
}): AttentionWatch {
  /** As of the last look at all nodes. */
  let records: readonly ClusterRecord[] = [];
  let ofNodes: readonly AttentionItem[] = [];
  let ofKeys: readonly AttentionItem[] = [];
  let incomplete: FleetView["incomplete"] = [];
  /** Each item with its cluster; undefined for one of the whole fleet. */
  let known: Map<string, ClusterRecord | undefined> | undefined;

  const look = async (): Promise<void> => {
    const seen = await sightings.gateways();
    // Nodes, which are many, are looked at less often.
    const ofGateways = attentionOf(
      {
        ...seen,
        clusters: records.map((record) => ({ record, nodes: [] })),
        incomplete: [...incomplete, ...seen.incomplete],
        oldKeys: [],
        registryProblem: registryProblem(),
        certificates: certificates(),
      },
      now(),
    );
    const items = [...ofNodes, ...ofKeys, ...ofGateways];
    const names = new Set(items.map(clusterOf));
    const byName = new Map(
      records.flatMap((record) => (names.has(record.name) ? [[record.name as string, record]] : [])),
    );
    const found = new Map(items.map((item) => [idOf(item), byName.get(clusterOf(item) ?? "")]));
    const before = known;
    known = found;
    if (before === undefined) return;
    const changed = [
      ...[...found].filter(([id]) => !before.has(id)),
      ...[...before].filter(([id]) => !found.has(id)),
    ].map(([, record]) => record);
    if (changed.length > 0) hub.publish({ kind: "attention", at: now(), records: changed });
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
    nodesSeen(all, seen) {
      records = all;
      ({ incomplete } = seen);
      ofNodes = clusterViews(all, seen, now()).flatMap((cluster) => clusterItems(cluster, now()));
      void ages.look(all).then(({ old }) => {
        ofKeys = old.map((key) => oldKeyItem(key, now()));
      });
    },
    begin,
  };
}
