// FleetService: what is known of nodes and gateways, and what needs a person.
import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import * as pb from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import type { GatewayReport } from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import { isSelected } from "@claviger/gateway-core/src/registry/labels.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { attentionOf, type AttentionItem, type FleetView } from "../attention.ts";
import type { Caller } from "../caller.ts";
import type { FleetMethods } from "../method.ts";
import { conditions, lifeLeft, type NodeView, nodesOf, notSeenMs } from "../node-view.ts";
import { refuse } from "../refusal.ts";
import type { Scope } from "../scope.ts";
import type { Incomplete, Sightings } from "../sightings.ts";
import { nodeOf } from "./request.ts";

const pages = { usual: 100, most: 1000 } as const;
/** Clusters whose nodes are read at once for a page of nodes. */
const ahead = 200;
const mostVersions = 20;

type Time = Pick<Timestamp, "seconds" | "nanos">;

function timeOf(ms: number): Time {
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

function textOf(incomplete: readonly Incomplete[]): string {
  return [...new Set(incomplete.map(({ text }) => text))].join("; ");
}

function sizeOf(name: string, size: number): number {
  if (size > pages.most) throw refuse("invalid_argument", `${name}: must be at most ${pages.most}`);
  return size === 0 ? pages.usual : size;
}

function pastMessage(report: NonNullable<NodeView["report"]>) {
  const past = report.shim?.lastOutage;
  if (past === undefined) return {};
  const endedAt = timeOf(report.at - past.ago * 1000);
  return { lastOutage: { phase: past.phase, seconds: BigInt(past.lasted), endedAt } };
}

export function nodeMessage(cluster: string, { node, condition, expected, revoked, report, ageMs }: NodeView): pb.Node {
  const names = { cluster, node, condition, expected, revoked };
  if (report === undefined || ageMs === undefined) return create(pb.NodeSchema, names);
  const { at, gateway, certificate, shim } = report;
  return create(pb.NodeSchema, {
    ...names,
    lastSeen: timeOf(at),
    ageSeconds: BigInt(Math.floor(ageMs / 1000)),
    gateway,
    shimVersion: shim?.version ?? "",
    ...(shim !== undefined && { phase: shim.phase }),
    ...(shim?.sinceGood !== undefined && { secondsSinceGood: BigInt(shim.sinceGood) }),
    keyId: shim?.keyId ?? "",
    configHash: shim?.config ?? "",
    certificateSerial: certificate.serial,
    certificateNotBefore: timeOf(certificate.notBefore),
    certificateNotAfter: timeOf(certificate.notAfter),
    ...pastMessage(report),
  });
}

function gatewayMessage(report: GatewayReport, now: number): pb.Gateway {
  const { name, version, startedAt, at, eventLoop, connections, registryVersion = "" } = report;
  return create(pb.GatewaySchema, {
    name,
    version,
    startedAt: timeOf(startedAt),
    lastSeen: timeOf(at),
    ageSeconds: BigInt(Math.max(0, Math.floor((now - at) / 1000))),
    ...(eventLoop !== undefined && { eventLoop }),
    connections,
    registryVersion,
    backends: report.backends.map(({ name: backend, addresses, login }) => ({
      name: backend,
      addressesUp: addresses.flatMap(({ address, isUp }) => (isUp ? [address] : [])),
      addressesDown: addresses.flatMap(({ address, isUp }) => (isUp ? [] : [address])),
      ...(login !== undefined && { loginUntil: timeOf(login.until) }),
    })),
    certificates: report.certificates.map(({ role, until, problem = "" }) => ({
      role,
      problem,
      ...(until !== undefined && { until: timeOf(until) }),
    })),
    problems: { ...report.problems },
  });
}

function attentionMessage({ since, ...item }: AttentionItem) {
  return { ...item, ...(since !== undefined && { since: timeOf(since) }) };
}

function countOf<K extends string | number>(keys: readonly K[]): Record<K, number> {
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

type Filter = Pick<pb.ListNodesRequest, "conditions" | "phases" | "notSeenForSeconds">;

/** @throws Refusal */
function filterOf({ conditions: wanted, phases, notSeenForSeconds }: Filter): (view: NodeView) => boolean {
  const wrong = wanted.find((one) => !(conditions as readonly string[]).includes(one));
  if (wrong !== undefined) throw refuse("invalid_argument", `conditions: must be among ${conditions.join(", ")}`);
  if (phases.some((phase) => phase > 3)) throw refuse("invalid_argument", "phases: must be 0 to 3");
  const leastMs = Number(notSeenForSeconds) * 1000;
  return ({ condition, report, ageMs = Number.POSITIVE_INFINITY }) =>
    (wanted.length === 0 || wanted.includes(condition)) &&
    (phases.length === 0 || (report?.shim !== undefined && phases.includes(report.shim.phase))) &&
    ageMs >= leastMs;
}

/** @param now Unix milliseconds */
export function viewMethods(
  scope: Scope,
  sightings: Sightings,
  now: () => number = Date.now,
): Pick<FleetMethods, "listNodes" | "getNode" | "listGateways" | "getFleetStatus"> {
  const read = async (records: readonly ClusterRecord[]) => {
    const { nodes, incomplete } = await sightings.nodes(records.map(({ uid }) => uid));
    const isComplete = incomplete.every(({ kind }) => kind === "refused");
    const at = now();
    const clusters = records.map((record) => ({
      record,
      nodes: nodesOf(record, nodes.get(record.uid) ?? [], isComplete, at),
    }));
    return { clusters, incomplete };
  };
  const selected = async (caller: Caller, matchLabels: Readonly<Record<string, string>>) =>
    (await scope.all(caller)).filter(({ labels }) => isSelected({ matchLabels }, labels));

  return {
    async listNodes({ pageSize, pageToken, cluster, matchLabels, ...filter }, caller, subject) {
      const size = sizeOf("page_size", pageSize);
      const isWanted = filterOf(filter);
      const [from = "", after = ""] = pageToken.split("/");
      const all = cluster === "" ? await scope.all(caller) : [await scope.one(caller, cluster, subject)];
      const records = all.filter(({ name, labels }) => name >= from && isSelected({ matchLabels }, labels));
      const found: pb.Node[] = [];
      const missing: Incomplete[] = [];
      // One more than a page: whether there is another.
      for (let i = 0; i < records.length && found.length <= size; i += ahead) {
        const { clusters, incomplete } = await read(records.slice(i, i + ahead));
        missing.push(...incomplete);
        for (const { record, nodes } of clusters)
          for (const view of nodes)
            if ((record.name > from || view.node > after) && isWanted(view)) found.push(nodeMessage(record.name, view));
      }
      const page = found.slice(0, size);
      const last = page.at(-1);
      return {
        nodes: page,
        nextPageToken: found.length > size && last !== undefined ? `${last.cluster}/${last.node}` : "",
        incomplete: textOf(missing),
      };
    },
    async getNode({ cluster, node }, caller, subject) {
      const name = nodeOf(node);
      const record = await scope.one(caller, cluster, subject);
      subject.target = `${record.name}/${name}`;
      const { clusters, incomplete } = await read([record]);
      const view = clusters[0]?.nodes.find((one) => one.node === name);
      const text = textOf(incomplete);
      if (view === undefined)
        throw refuse(
          "not_found",
          `the record of ${record.name} does not name ${name}, and no gateway has seen it${text === "" ? "" : `; ${text}`}`,
        );
      return { node: nodeMessage(record.name, view), incomplete: text };
    },
    async listGateways() {
      const { gateways, incomplete } = await sightings.gateways();
      const sorted = gateways.toSorted((a, b) => (a.name < b.name ? -1 : 1));
      return { gateways: sorted.map((report) => gatewayMessage(report, now())), incomplete: textOf(incomplete) };
    },
    async getFleetStatus({ matchLabels, attentionSize }, caller) {
      const size = sizeOf("attention_size", attentionSize);
      const [{ clusters, incomplete }, seen] = await Promise.all([
        selected(caller, matchLabels).then(read),
        sightings.gateways(),
      ]);
      const missing = [
        ...incomplete,
        ...seen.incomplete.filter(({ kind }) => !incomplete.some((one) => one.kind === kind)),
      ];
      const view = { clusters, gateways: seen.gateways, incomplete: missing };
      const attention = attentionOf(view, now());
      return {
        ...statusOf(view, now()),
        attention: attention.slice(0, size).map(attentionMessage),
        attentionTotal: attention.length,
        incomplete: textOf(missing),
      };
    },
  };
}
