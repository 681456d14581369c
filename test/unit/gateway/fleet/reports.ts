// What gateways have put into Redis of nodes and of themselves, for tests of those who read it.
import type { GatewayReport } from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import type { NodeReport } from "@claviger/gateway-core/src/redis/node-reports.ts";
import { signValue } from "@claviger/gateway-core/src/redis/signed-value.ts";
import { checkRecord, type ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { clusterUid, nodeName } from "@claviger/proto/wire/names.ts";
import type { ShimReport } from "@claviger/proto/wire/shim-report.ts";
import { formatShimReport } from "@claviger/proto/wire/shim-report.ts";
import type { FakeRedis } from "../core/redis/fakes.ts";

const day = 86_400_000;
const uid = clusterUid.parse("01M8CZX875MFSCYTBWR058VXTH");

export const well: ShimReport = { version: "0.2.0", phase: 0, sinceGood: 20, config: "0123456789abcdef" };

export function recordOf(fields: object = {}): ClusterRecord {
  const keys = [{ backend: "main", mount: "transit", key: "red" }];
  const { record, problems } = checkRecord({ name: "red", uid, state: "active", rotation: "auto", keys, ...fields });
  if (record === undefined) throw new Error(problems.join(", "));
  return record;
}

/** A node that was seen at `at`, with half of its certificate's life left. */
export function reportOf(node: string, at: number, fields: Partial<NodeReport> = {}): NodeReport {
  return {
    node: nodeName.parse(node),
    at,
    gateway: "gateway-1:8443",
    certificate: { serial: "0A1B", notBefore: at - day, notAfter: at + day },
    shim: well,
    ...fields,
  };
}

export function gatewayOf(at: number, fields: Partial<GatewayReport> = {}): GatewayReport {
  return {
    name: "gateway-1:8443",
    at,
    version: "0.2.0",
    startedAt: at - day,
    eventLoop: 0.2,
    connections: 3,
    backends: [{ name: "main", addresses: [{ address: "https://vault.test:8200", isUp: true }] }],
    certificates: [{ role: "server", until: at + day }],
    problems: {},
    ...fields,
  };
}

/** As gateways write it. */
export function putReports(server: FakeRedis, key: Uint8Array, cluster: string, reports: readonly NodeReport[]): void {
  const name = `nodes:${cluster}`;
  const fields = reports.map(({ node, at, gateway, certificate, shim }) => {
    const text = JSON.stringify({ at, gateway, ...certificate, ...(shim && { shim: formatShimReport(shim) }) });
    return [node, signValue(key, `${name}/${node}`, text)];
  });
  server.setHash(name, { ...server.hash(name), ...(Object.fromEntries(fields) as Record<string, string>) });
}

/** As gateways write it. @param since since when Redis has held it */
export function putGateways(
  server: FakeRedis,
  key: Uint8Array,
  since: number,
  reports: readonly GatewayReport[],
): void {
  const fields = reports.map(({ name, ...rest }) => [name, signValue(key, `gateways/${name}`, JSON.stringify(rest))]);
  server.setHash("gateways", Object.fromEntries(fields) as Record<string, string>);
  server.entries.set("nodes-since", {
    value: signValue(key, "nodes-since", String(since)),
    until: Number.POSITIVE_INFINITY,
  });
}
