// docs/reference/metrics.md: what the exporters of shim and gateway really write, once everything
// that they count has been counted once.
import * as fleet from "../../gateway/fleet/src/metrics.ts";
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
  "claviger_gateway_handshake_failures_total.kind": "`closed`, `timeout`, `certificate` or `protocol`",
  "claviger_shim_certificate_seconds_left.role": "`client` or `gateway_ca`",
  "claviger_gateway_certificate_seconds_left.role":
    "`server`, `client_ca`, and `client` and `ca` of `backend/NAME/`, `redis/` and `audit/N/` (the N-th of `audit.sinks`, from 0)",
  "claviger_fleet_requests_total.method": "the methods of FleetService",
  "claviger_fleet_requests_total.result": "`ok`, or the code of Connect that the call was refused with",
  "claviger_fleet_certificate_seconds_left.role": "`server` or `client_ca`",
  cause: handshakeFailures.map(code).join(", "),
  "claviger_gateway_requests_shed_total.cause":
    "`limit` (more calls are under way than are served in time, and the caller's cluster has its share of them) or `time` (the caller waits for less than the key backend takes)",
  refused_by: "`shim` (it does not accept the gateway's certificate) or `gateway` (the other way round)",
  "claviger_gateway_client_errors_total.kind": "`parser` or `connection`",
};

async function shimPage(): Promise<string> {
  const metrics = shim.createMetrics();
  metrics.started();
  metrics.finished("encrypt", "ok", 1);
  metrics.upstreamAsked("encrypt", "ok");
  metrics.coalesced();
  metrics.retried();
  metrics.handshakeFailed("gateway", "certificate_expired");
  metrics.observeCertificates(() => [{ role: "client", level: "ok", text: "ok", secondsLeft: 1 }]);
  metrics.observeGateways(() => [{ gateway: "https://gateway.example:8443", isUp: true }]);
  metrics.observeOutage(() => ({ phase: 1, secondsSinceGood: 1 }));
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
  metrics.observeCertificates(() => [{ role: "server", level: "ok", text: "ok", secondsLeft: 1 }]);
  metrics.observeBrokenVersions(() => 0);
  metrics.observeUnpromotedVersions(() => 0);
  metrics.observeReopenedVersions(() => 0);
  metrics.observeKeyInterval(() => 10_000);
  metrics.observeBackendAddresses(() => [
    { backend: "main", address: "https://vault.example:8200", isUp: true, latencyMs: 1 },
  ]);
  metrics.observeAuditSinks(() => [{ name: "stdout", missed: 0 }]);
  return await metrics.render();
}

async function fleetPage(): Promise<string> {
  const metrics = fleet.createMetrics();
  metrics.called("getCluster", "ok");
  metrics.observeCertificates(() => [{ role: "server", level: "ok", text: "ok", secondsLeft: 1 }]);
  return await metrics.render();
}

function labelsOf(name: string, type: string, text: string): string {
  const samples = [...text.matchAll(new RegExp(`^${name}(?:_bucket|_sum|_count)?(?:\\{([^}]*)\\})? `, "gm"))];
  const found = new Set(
    samples.flatMap(([, list = ""]) => [...list.matchAll(/(\w+)="/g)].map(([, label = ""]) => label)),
  );
  return [...found]
    .filter((label) => !label.startsWith("otel_") && !(type === "histogram" && label === "le"))
    .map((label) => {
      const values = labels[`${name}.${label}`] ?? labels[label];
      if (values === undefined) throw new Gap(`${name}: docs/generate/metrics.ts does not say what ${label} is`);
      return `${code(label)}: ${values}`;
    })
    .join("; ");
}

function tableOf(text: string, names: Readonly<Record<string, string>>): string {
  const rows = [...text.matchAll(/^# HELP (claviger_\w+) (.*)\n(?:# UNIT \w+ (\w+)\n)?# TYPE \w+ (\w+)$/gm)].map(
    ([, name = "", help = "", unit, type = ""]) => {
      if (help.includes("description missing")) throw new Gap(`${name} has no description`);
      return [code(name), unit === "s" ? `${type}, seconds` : type, help, labelsOf(name, type, text)];
    },
  );
  for (const name of Object.values(names))
    if (!rows.some(([shown = ""]) => shown.slice(1).startsWith(name)))
      throw new Gap(`docs/generate/metrics.ts counts nothing as ${name}`);
  return table(["metric", "type", "what", "labels"], rows);
}

const intro = `What \`/metrics\` shows, in the text format of Prometheus. Values of labels come from closed sets.`;

export async function metricsPage(): Promise<string> {
  return page("Metrics", intro, [
    "## Gateway",
    tableOf(await gatewayPage(), gateway.names),
    "## Fleet service",
    tableOf(await fleetPage(), fleet.names),
    "## Shim",
    tableOf(await shimPage(), shim.names),
  ]);
}
