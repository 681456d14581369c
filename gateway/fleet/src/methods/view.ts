// FleetService: what is known of nodes and gateways.
import { create } from "@bufbuild/protobuf";
import * as pb from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import type { GatewayReport } from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import { isSelected } from "@claviger/gateway-core/src/registry/labels.ts";
import type { FleetMethods } from "../method.ts";
import { conditions, type NodeView } from "../node-view.ts";
import { createFleetReader, textOf } from "../fleet-view.ts";
import { refuse } from "../refusal.ts";
import type { Scope } from "../scope.ts";
import type { Incomplete, Sightings } from "../sightings.ts";
import { nodeOf } from "./request.ts";
import { timeOf } from "./time.ts";

const pages = { usual: 100, most: 1000 } as const;
/** Clusters whose nodes are read at once for a page of nodes. */
const ahead = 200;

/** @throws Refusal */
export function sizeOf(name: string, size: number): number {
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
): Pick<FleetMethods, "listNodes" | "getNode" | "listGateways"> {
  const read = createFleetReader(sightings, now);
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
  };
}
