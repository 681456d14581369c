// FleetService: the fleet in numbers, and what needs a person.
import { isSelected } from "@claviger/gateway-core/src/registry/labels.ts";
import { attentionOf, type FleetView } from "../attention/attention.ts";
import type { AttentionItem } from "../attention/item.ts";
import { createFleetReader, textOf } from "../fleet-view.ts";
import type { KeyAges } from "../keys/ages.ts";
import type { FleetMethods } from "../method.ts";
import { lifeLeft, type NodeView, notSeenMs } from "../node-view.ts";
import type { Scope } from "../scope.ts";
import type { Sightings } from "../sightings.ts";
import { timeOf } from "./time.ts";
import { sizeOf } from "./view.ts";

const mostVersions = 20;

function attentionMessage({ since, ...item }: AttentionItem) {
  return { ...item, ...(since !== undefined && { since: timeOf(since) }) };
}

export function countOf<K extends string | number>(keys: readonly K[]): Record<K, number> {
  const counts = new Map<K, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return Object.fromEntries([...counts].toSorted(([, a], [, b]) => b - a)) as Record<K, number>;
}

/** Nodes may say any version: the most frequent ones are told, and how many have another. */
function versionsOf(nodes: readonly NodeView[]): Record<string, number> {
  const all = Object.entries(countOf(nodes.flatMap(({ report }) => report?.shim?.version ?? [])));
  const rest = all.slice(mostVersions).reduce((sum, [, count]) => sum + count, 0);
  return Object.fromEntries([...all.slice(0, mostVersions), ...(rest === 0 ? [] : [["other", rest] as const])]);
}

function statusOf(view: FleetView, now: number) {
  const nodes = view.clusters.flatMap((cluster) => cluster.nodes);
  const live = nodes.filter(({ ageMs }) => ageMs !== undefined && ageMs < notSeenMs);
  return {
    clusters: countOf(view.clusters.map(({ record }) => record.state)),
    nodes: countOf(nodes.map(({ condition }) => condition)),
    phases: countOf(live.flatMap(({ report }) => report?.shim?.phase ?? [])),
    expiringCertificates: nodes.filter(
      ({ revoked, report }) => !revoked && report !== undefined && lifeLeft(report, now) < 1 / 3,
    ).length,
    shimVersions: versionsOf(nodes),
    gatewayVersions: countOf(view.gateways.map(({ version }) => version)),
  };
}

/** @param now Unix milliseconds */
export function statusMethods({
  scope,
  sightings,
  ages,
  certificates,
  now = Date.now,
}: {
  readonly scope: Scope;
  readonly sightings: Sightings;
  readonly ages: KeyAges;
  readonly certificates: () => FleetView["certificates"];
  readonly now?: () => number;
}): Pick<FleetMethods, "getFleetStatus"> {
  const read = createFleetReader(sightings, now);
  return {
    async getFleetStatus({ matchLabels, attentionSize }, caller) {
      const size = sizeOf("attention_size", attentionSize);
      const records = (await scope.all(caller)).filter(({ labels }) => isSelected({ matchLabels }, labels));
      const [{ clusters, incomplete }, seen, keys] = await Promise.all([
        read(records),
        sightings.gateways(),
        ages.look(records),
      ]);
      const missing = [
        ...incomplete,
        ...seen.incomplete.filter(({ kind }) => !incomplete.some((one) => one.kind === kind)),
      ];
      const { gateways, silent } = seen;
      const view = {
        clusters,
        gateways,
        silent,
        incomplete: missing,
        oldKeys: keys.old,
        registryProblem: scope.problem(),
        certificates: certificates(),
      };
      const attention = attentionOf(view, now());
      const unknownAges = keys.unknown === 0 ? "" : `the age of the keys of ${keys.unknown} clusters is not known yet`;
      return {
        ...statusOf(view, now()),
        oldKeys: keys.old.length,
        attention: attention.slice(0, size).map(attentionMessage),
        attentionTotal: attention.length,
        incomplete: [textOf(missing), unknownAges].filter((text) => text !== "").join("; "),
      };
    },
  };
}
