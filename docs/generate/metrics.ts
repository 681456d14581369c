// docs/reference/metrics.md: what the exporters of shim and gateway really write, once everything
// that they count has been counted once.
import * as fleet from "../../gateway/fleet/src/metrics.ts";
import { names as gatewayNames } from "../../gateway/server/src/metric-names.ts";
import * as gateway from "../../gateway/server/src/metrics.ts";
import * as shim from "../../shim/src/metrics.ts";
import { handshakeFailures } from "../../proto/wire/handshakes.ts";
import { code, Gap, page, table } from "./markdown.ts";

/** What the values of a label are; `METRIC.LABEL` where a label means something else elsewhere. */
const labels: Readonly<Record<string, string>> = {
  gateway: "the URLs of the `gateways` setting",
  method:
    "`status`, `encrypt`, `decrypt`, `v1Version`, `v1Encrypt`, `v1Decrypt`, `decryptBatch`, `encryptBatch`, or `unknown`",
  result: "`ok` or a [reason](errors.md)",
  backend: "name of the backend",
  address: "the URLs of the backend's `addresses` setting",
  operation: "`wrap` or `unwrap`",
  bound: "`all`, `cluster`, `identity` or `handshakes`: which bound was reached",
  sink: "`stdout`, or `file` and its path",
  program: "`gateway`, `shim` or `fleet`",
  version: "that of Claviger",
  node_version: "that of Node.js",
  statistic: "`p50`, `p99` or `max`",
  cluster: "its name in the registry, or `other` beyond `metrics.clusters`",
  key: "namespace, mount and name of the key, or `other` beyond `metrics.clusters`",
  outcome: "`ok`, or what kind of [reason](errors.md) it was: `outage`, `refusal` or `caller`",
  "claviger_gateway_cluster_calls_total.operation": "`status`, `encrypt` or `decrypt`",
  "claviger_gateway_backend_call_duration_seconds.operation":
    "`wrap`, `unwrap`, `describe` (the key is read) or `promote`",
  renewal: "`automatic`, or `none` where nothing renews the token or follows it",
  "claviger_gateway_handshake_failures_total.kind": "`closed`, `timeout`, `certificate` or `protocol`",
  role: "of a shim `client` or `gateway_ca`; of the fleet service `server`, `client_ca` or `trust_bundle`; of a gateway `server`, `client_ca`, and `client` and `ca` of `backend/NAME/`, `redis/` and `audit/N/` (the N-th of `audit.sinks`, from 0)",
  "claviger_fleet_requests_total.method": "the methods of FleetService",
  "claviger_fleet_requests_total.result": "`ok`, or the code of Connect that the call was refused with",
  cause: handshakeFailures.map(code).join(", "),
  "claviger_gateway_requests_shed_total.cause":
    "`limit` (more calls are under way than are served in time, and the caller's cluster has its share of them) or `time` (the caller waits for less than the key backend takes)",
  refused_by: "`shim` (it does not accept the gateway's certificate) or `gateway` (the other way round)",
  "claviger_gateway_client_errors_total.kind": "`parser` or `connection`",
};

const own = {
  version: "v24.0.0",
  cpuUsage: () => ({ user: 1, system: 1 }),
  memoryUsage: { rss: () => 1 },
  uptime: () => 1,
};
const certificate = { role: "server", level: "ok", text: "ok", secondsLeft: 1, validFrom: 1, expiresAt: 1 } as const;
const auditLog = {
  sinks: () => [{ name: "stdout", problem: undefined, since: undefined, missed: 0, failures: 0, queuedBytes: 0 }],
  signedAt: () => 1,
};

async function shimPage(): Promise<string> {
  const metrics = shim.createMetrics();
  metrics.started();
  metrics.finished("encrypt", "ok", 1);
  metrics.upstreamAsked("encrypt", "ok");
  metrics.coalesced();
  metrics.retried();
  metrics.handshakeFailed("gateway", "certificate_expired");
  metrics.observeCertificates(() => [certificate]);
  metrics.observeGateways(() => [{ gateway: "https://gateway.example:8443", isUp: true }]);
  metrics.observeOutage(() => ({ phase: 1, secondsSinceGood: 1 }));
  metrics.observeProcess("0.0.0", own);
  return await metrics.render();
}

async function gatewayPage(): Promise<string> {
  const metrics = gateway.createMetrics();
  metrics.started();
  metrics.finished("encrypt", "ok", 1);
  metrics.handshakeFailed("certificate", "unknown_ca");
  metrics.clientError("HPE_INVALID_METHOD");
  metrics.reportMalformed();
  metrics.connectionClosed("all");
  metrics.shed("limit");
  metrics.observeRequestLimit(() => 64);
  metrics.backendCalled("main", "wrap", 1);
  metrics.observeConnections(() => 1);
  metrics.observeCertificates(() => [certificate]);
  metrics.observeBrokenVersions(() => 0);
  metrics.observeUnpromotedVersions(() => 0);
  metrics.observeReopenedVersions(() => 0);
  metrics.observeKeyInterval(() => 10_000);
  metrics.observeBackendAddresses(() => [
    { backend: "main", address: "https://vault.example:8200", isUp: true, latencyMs: 1 },
  ]);
  metrics.clusterCalled("prod", "encrypt", undefined);
  metrics.backendAnswered("main", "wrap", "ok", 1);
  metrics.observeKeys(() => [{ backend: "main", key: "transit/prod", promoted: 1, latest: 1, createdAt: 1 }]);
  metrics.observeTokens(() => [{ backend: "main", end: { until: 1, isLast: false } }]);
  metrics.observeRedis(() => true);
  metrics.observeRegistry(() => ({ clusters: 1, problems: 0, goodAt: 1, edit: 1 }));
  metrics.observeAudit(auditLog);
  metrics.observeProcess("0.0.0", own);
  return await metrics.render();
}

async function fleetPage(): Promise<string> {
  const metrics = fleet.createMetrics();
  metrics.called("getCluster", "ok");
  metrics.observeAudit(auditLog);
  metrics.observeCertificates(() => [certificate]);
  metrics.observeProcess("0.0.0", own);
  return await metrics.render();
}

function labelsOf(name: string, type: string, text: string): string {
  const samples = [...text.matchAll(new RegExp(`^${name}(?:_bucket|_sum|_count)?(?:\\{([^}]*)\\})? `, "gm"))];
  const found = new Set(
    samples.flatMap(([, list = ""]) => [...list.matchAll(/(\w+)="/g)].map(([, label = ""]) => label)),
  );
  return [...found]
    .filter((label) => !(type === "histogram" && label === "le"))
    .map((label) => {
      const values = labels[`${name}.${label}`] ?? labels[label];
      if (values === undefined) throw new Gap(`${name}: docs/generate/metrics.ts does not say what ${label} is`);
      return `${code(label)}: ${values}`;
    })
    .join("; ");
}

function tableOf(text: string, names: Readonly<Record<string, string>>): string {
  const rows = [...text.matchAll(/^# HELP ((?:claviger|process)_\w+) (.*)\n# TYPE \w+ (\w+)$/gm)].map(
    ([, name = "", help = "", type = ""]) => {
      if (help.includes("description missing")) throw new Gap(`${name} has no description`);
      return [code(name), type, help, labelsOf(name, type, text)];
    },
  );
  for (const name of Object.values(names))
    if (!rows.some(([shown = ""]) => shown.slice(1).startsWith(name)))
      throw new Gap(`docs/generate/metrics.ts counts nothing as ${name}`);
  return table(["metric", "type", "what", "labels"], rows);
}

const intro = `What \`/metrics\` shows, in the text format of Prometheus. Names end in their unit; timestamps are Unix time in seconds.
Values of labels come from closed or bounded sets. Every series of a shim has the labels \`cluster\` and \`node\` as well, from its certificate; \`target_info\` of each program has the resource attributes of OpenTelemetry.`;

export async function metricsPage(): Promise<string> {
  return page("Metrics", intro, [
    "## Gateway",
    tableOf(await gatewayPage(), gatewayNames),
    "## Fleet service",
    tableOf(await fleetPage(), fleet.names),
    "## Shim",
    tableOf(await shimPage(), shim.names),
  ]);
}
