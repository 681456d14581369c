// What the gateway counts, and the text that Prometheus reads. Names and labels are here and
// nowhere else; label values come from closed sets. The only file that imports OpenTelemetry's
// metrics.
import type { AddressState } from "@claviger/gateway-core/src/backend/port.ts";
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { AggregationType, MeterProvider } from "@opentelemetry/sdk-metrics";
import type { CertificateState } from "@claviger/proto/runtime/expiry.ts";
import type { HandshakeFailure } from "@claviger/proto/wire/handshakes.ts";

/** Names as they stand in Prometheus, but for the `_total` of counters. */
export const names = {
  requests: "claviger_gateway_request_duration",
  inFlight: "claviger_gateway_requests_in_flight",
  handshakeFailures: "claviger_gateway_handshake_failures",
  eventLoop: "claviger_gateway_event_loop_utilization",
  clientErrors: "claviger_gateway_client_errors",
  malformedReports: "claviger_gateway_malformed_shim_reports",
  connections: "claviger_gateway_connections",
  connectionsClosed: "claviger_gateway_connections_closed",
  backendCalls: "claviger_gateway_backend_calls",
  backendItems: "claviger_gateway_backend_items",
  brokenVersions: "claviger_gateway_broken_key_versions",
  unpromotedVersions: "claviger_gateway_unpromoted_key_versions",
  reopenedVersions: "claviger_gateway_reopened_key_versions",
  keyInterval: "claviger_gateway_key_refresh",
  shed: "claviger_gateway_requests_shed",
  requestLimit: "claviger_gateway_request_limit",
  certificateLeft: "claviger_gateway_certificate_seconds_left",
  auditMissed: "claviger_gateway_audit_records_missed",
  addressUp: "claviger_gateway_backend_address_up",
  addressLatency: "claviger_gateway_backend_address_latency",
} as const;

/** What kind of failure it was; `closed` is a port check as well. */
export type HandshakeKind = "closed" | "timeout" | "certificate" | "protocol";
/** The bounds of connections. */
export type ConnectionBound = "all" | "cluster" | "identity" | "handshakes";

export interface Metrics {
  started(): void;
  /** @param result `ok` or a reason of the error table */
  finished(method: string, result: string, milliseconds: number): void;
  handshakeFailed(kind: HandshakeKind, cause: HandshakeFailure): void;
  /** A request that Node's HTTP parser refused. */
  clientError(code: string): void;
  /** What a shim said of itself with a Status, and cannot be read. */
  readonly reportMalformed: () => void;
  /** A connection that was closed, or not taken, because a bound was reached. */
  connectionClosed(bound: ConnectionBound): void;
  /** A request that was refused before it was read: over the limit of calls, or too late for the backend. */
  shed(cause: "limit" | "time"): void;
  /** @param read how many requests are let in at once; undefined while all are */
  observeRequestLimit(read: () => number | undefined): void;
  /** Open connections: asked at each scrape. */
  observeConnections(read: () => number): void;
  /** One batch call to a backend. */
  backendCalled(backend: string, operation: "wrap" | "unwrap", items: number): void;
  /** Earlier key versions that decrypt no longer: asked at each scrape. */
  observeBrokenVersions(read: () => number): void;
  /** Keys whose newest version could not be promoted: asked at each scrape. */
  observeUnpromotedVersions(read: () => number): void;
  /** Retired key versions that decrypt again: asked at each scrape. */
  observeReopenedVersions(read: () => number): void;
  /** @param read how often each key is read, milliseconds */
  observeKeyInterval(read: () => number): void;
  /** Audit records that each sink does not have: asked at each scrape. */
  observeAuditSinks(read: () => readonly { readonly name: string; readonly missed: number }[]): void;
  /** Asked for at each scrape. */
  observeBackendAddresses(read: () => readonly (AddressState & { readonly backend: string })[]): void;
  /** Until the certificates in use expire: asked at each scrape. */
  observeCertificates(read: () => readonly CertificateState[]): void;
  /** The page for a scraper. */
  readonly render: () => Promise<string>;
}

const secondsBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

export function createMetrics(): Metrics {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const views = [
    {
      instrumentName: names.requests,
      aggregation: { type: AggregationType.EXPLICIT_BUCKET_HISTOGRAM, options: { boundaries: secondsBuckets } },
    } as const,
  ];
  const meter = new MeterProvider({ readers: [exporter], views }).getMeter("claviger-gateway");
  const requests = meter.createHistogram(names.requests, {
    unit: "s",
    description: "KMS requests by method and result",
  });
  const inFlight = meter.createUpDownCounter(names.inFlight, {
    description: "KMS requests that have not been answered yet",
  });
  const handshakeFailures = meter.createCounter(names.handshakeFailures, { description: "TLS handshakes that failed" });
  let loop = performance.eventLoopUtilization();
  meter
    .createObservableGauge(names.eventLoop, {
      description: "Share of the time since the last scrape in which the event loop worked: a gateway is one core",
    })
    .addCallback((result) => {
      const before = loop;
      loop = performance.eventLoopUtilization();
      result.observe(performance.eventLoopUtilization(loop, before).utilization);
    });
  const clientErrors = meter.createCounter(names.clientErrors, { description: "Requests that are no HTTP" });
  const malformedReports = meter.createCounter(names.malformedReports, {
    description:
      "Words of shims of themselves (claviger-shim) that cannot be read; the Status is answered all the same",
  });
  const connectionsClosed = meter.createCounter(names.connectionsClosed, {
    description: "Connections that were closed because a bound was reached",
  });
  const shed = meter.createCounter(names.shed, {
    description: "Requests that were refused before they were read, because this gateway could not serve them in time",
  });
  const backendCalls = meter.createCounter(names.backendCalls, { description: "Calls to a key backend" });
  const backendItems = meter.createCounter(names.backendItems, { description: "Items in those calls" });
  const serializer = new PrometheusSerializer();
  return {
    started: () => inFlight.add(1),
    finished(method, result, milliseconds) {
      inFlight.add(-1);
      requests.record(milliseconds / 1000, { method, result });
    },
    handshakeFailed: (kind, cause) => handshakeFailures.add(1, { kind, cause }),
    // Codes of the parser are a closed set; a system's error is told by its kind alone.
    clientError: (code) => clientErrors.add(1, { kind: code.startsWith("HPE_") ? "parser" : "connection" }),
    reportMalformed: () => malformedReports.add(1),
    connectionClosed: (bound) => connectionsClosed.add(1, { bound }),
    shed: (cause) => shed.add(1, { cause }),
    observeRequestLimit(read) {
      meter
        .createObservableGauge(names.requestLimit, {
          description:
            "Requests that are let in at once, a further call of a batch being an eighth; absent while all are",
        })
        .addCallback((result) => {
          const limit = read();
          if (limit !== undefined) result.observe(limit);
        });
    },
    observeConnections(read) {
      meter
        .createObservableGauge(names.connections, { description: "Open connections, handshakes included" })
        .addCallback((result) => result.observe(read()));
    },
    backendCalled(backend, operation, items) {
      backendCalls.add(1, { backend, operation });
      backendItems.add(items, { backend, operation });
    },
    observeBrokenVersions(read) {
      meter
        .createObservableGauge(names.brokenVersions, {
          description: "Earlier key versions that decrypted no longer when they were last tried",
        })
        .addCallback((result) => result.observe(read()));
    },
    observeUnpromotedVersions(read) {
      meter
        .createObservableGauge(names.unpromotedVersions, {
          description: "Keys whose newest version does not encrypt because it could not be promoted",
        })
        .addCallback((result) => result.observe(read()));
    },
    observeReopenedVersions(read) {
      meter
        .createObservableGauge(names.reopenedVersions, {
          description:
            "Retired key versions that decrypt again: min_decryption_version was lowered while this gateway runs",
        })
        .addCallback((result) => result.observe(read()));
    },
    observeKeyInterval(read) {
      meter
        .createObservableGauge(names.keyInterval, {
          description: "How often each key is read from its backend; grows with the number of keys in use",
          unit: "s",
        })
        .addCallback((result) => result.observe(read() / 1000));
    },
    observeAuditSinks(read) {
      meter
        .createObservableCounter(names.auditMissed, { description: "Audit records that a sink does not have" })
        .addCallback((result) => {
          for (const { name, missed } of read()) result.observe(missed, { sink: name });
        });
    },
    observeBackendAddresses(read) {
      meter
        .createObservableGauge(names.addressUp, { description: "1 while an address of a backend serves" })
        .addCallback((result) => {
          for (const { backend, address, isUp } of read()) result.observe(isUp ? 1 : 0, { backend, address });
        });
      meter
        .createObservableGauge(names.addressLatency, {
          unit: "s",
          description: "Usual time of an answer from an address of a backend",
        })
        .addCallback((result) => {
          for (const { backend, address, latencyMs } of read())
            if (latencyMs !== undefined) result.observe(latencyMs / 1000, { backend, address });
        });
    },
    observeCertificates(read) {
      meter
        .createObservableGauge(names.certificateLeft, {
          description: "Seconds until a certificate in use expires, negative after that",
        })
        .addCallback((result) => {
          for (const { role, secondsLeft } of read())
            if (secondsLeft !== undefined) result.observe(secondsLeft, { role });
        });
    },
    async render() {
      const { resourceMetrics } = await exporter.collect();
      return serializer.serialize(resourceMetrics);
    },
  };
}
