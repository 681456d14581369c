// What the shim counts. Names and labels are here and nowhere else; label values come from closed
// sets. The only file that imports OpenTelemetry's metrics.
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { AggregationType, MeterProvider } from "@opentelemetry/sdk-metrics";
import type { CertificateState } from "@claviger/proto/runtime/expiry.ts";
import type { HandshakeFailure } from "@claviger/proto/wire/handshakes.ts";
import type { OutagePhase } from "@claviger/proto/wire/shim-report.ts";

/** Names as they stand in Prometheus, but for the `_total` of counters. */
export const names = {
  calls: "claviger_shim_call_duration",
  inFlight: "claviger_shim_calls_in_flight",
  upstream: "claviger_shim_upstream_requests",
  coalesced: "claviger_shim_decrypts_coalesced",
  retries: "claviger_shim_retries",
  handshakeFailures: "claviger_shim_handshake_failures",
  certificateLeft: "claviger_shim_certificate_seconds_left",
  gatewayUp: "claviger_shim_gateway_up",
  phase: "claviger_shim_outage_phase",
  sinceGood: "claviger_shim_seconds_since_good_status",
} as const;

export interface Metrics {
  started(): void;
  /** @param result `ok` or a reason of the error table */
  finished(method: string, result: string, milliseconds: number): void;
  upstreamAsked(method: string, result: string): void;
  coalesced(): void;
  retried(): void;
  /** A TLS handshake with a gateway that one side refused. */
  handshakeFailed(refusedBy: "shim" | "gateway", cause: HandshakeFailure): void;
  /** Asked for at each scrape. */
  observeGateways(read: () => readonly { readonly gateway: string; readonly isUp: boolean }[]): void;
  /** Asked for at each scrape. */
  observeOutage(read: () => { readonly phase: OutagePhase; readonly secondsSinceGood: number | undefined }): void;
  /** Until the certificates in use expire: asked at each scrape. */
  observeCertificates(read: () => readonly CertificateState[]): void;
  readonly render: () => Promise<string>;
}

const secondsBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

export function createMetrics(): Metrics {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const views = [
    {
      instrumentName: names.calls,
      aggregation: { type: AggregationType.EXPLICIT_BUCKET_HISTOGRAM, options: { boundaries: secondsBuckets } },
    } as const,
  ];
  const meter = new MeterProvider({ readers: [exporter], views }).getMeter("claviger-shim");
  const calls = meter.createHistogram(names.calls, {
    unit: "s",
    description: "KMS calls of kube-apiserver by method and result",
  });
  const inFlight = meter.createUpDownCounter(names.inFlight, {
    description: "KMS calls that have not been answered yet",
  });
  const upstream = meter.createCounter(names.upstream, { description: "Requests to gateways by method and result" });
  const coalesced = meter.createCounter(names.coalesced, { description: "Decrypts that shared another one's request" });
  const retries = meter.createCounter(names.retries, { description: "Second and further tries, hedges included" });
  const handshakeFailures = meter.createCounter(names.handshakeFailures, {
    description: "TLS handshakes with gateways that one side refused",
  });
  const certificateLeft = meter.createObservableGauge(names.certificateLeft, {
    description: "Seconds until a certificate in use expires, negative after that",
  });
  const gatewayUp = meter.createObservableGauge(names.gatewayUp, {
    description: "1 while calls go to this gateway, 0 while it is asked last because it failed",
  });
  const phase = meter.createObservableGauge(names.phase, {
    description: "0 none, 1 ready on the last key_id, 2 healthz names the cause, 3 error",
  });
  const sinceGood = meter.createObservableGauge(names.sinceGood, { description: "Age of the last good Status" });
  const serializer = new PrometheusSerializer();
  return {
    started: () => inFlight.add(1),
    finished(method, result, milliseconds) {
      inFlight.add(-1);
      calls.record(milliseconds / 1000, { method, result });
    },
    upstreamAsked: (method, result) => upstream.add(1, { method, result }),
    coalesced: () => coalesced.add(1),
    retried: () => retries.add(1),
    handshakeFailed: (refusedBy, cause) => handshakeFailures.add(1, { refused_by: refusedBy, cause }),
    observeGateways(read) {
      gatewayUp.addCallback((result) => {
        for (const { gateway, isUp } of read()) result.observe(isUp ? 1 : 0, { gateway });
      });
    },
    observeOutage(read) {
      phase.addCallback((result) => result.observe(read().phase));
      sinceGood.addCallback((result) => {
        const { secondsSinceGood } = read();
        if (secondsSinceGood !== undefined) result.observe(secondsSinceGood);
      });
    },
    observeCertificates(read) {
      certificateLeft.addCallback((result) => {
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
