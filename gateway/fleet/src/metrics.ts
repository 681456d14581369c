// What the fleet service counts, and the text that Prometheus reads. The only file that imports
// OpenTelemetry's metrics.
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import type { CertificateState } from "@claviger/proto/runtime/expiry.ts";

/** Names as they stand in Prometheus, but for the `_total` of counters. */
export const names = {
  requests: "claviger_fleet_requests",
  certificateLeft: "claviger_fleet_certificate_seconds_left",
} as const;

export interface Metrics {
  /** @param result `ok`, or the code of Connect that it was refused with */
  called(method: string, result: string): void;
  /** Asked for at each scrape. */
  observeCertificates(read: () => readonly CertificateState[]): void;
  /** The page for a scraper. */
  readonly render: () => Promise<string>;
}

export function createMetrics(): Metrics {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const meter = new MeterProvider({ readers: [exporter] }).getMeter("claviger-fleet");
  const serializer = new PrometheusSerializer(undefined, false);
  const requests = meter.createCounter(names.requests, { description: "Calls of FleetService" });
  return {
    called: (method, result) => requests.add(1, { method, result }),
    observeCertificates(read) {
      meter
        .createObservableGauge(names.certificateLeft, {
          unit: "s",
          description: "Seconds until a certificate in use, or the first of a bundle, expires",
        })
        .addCallback((observed) => {
          for (const { role, secondsLeft } of read())
            if (secondsLeft !== undefined) observed.observe(secondsLeft, { role });
        });
    },
    async render() {
      const { resourceMetrics } = await exporter.collect();
      return serializer.serialize(resourceMetrics);
    },
  };
}
