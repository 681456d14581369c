// What the fleet service counts. Names, labels and descriptions are here and nowhere else, but for those that all
// programs share (proto/runtime/process-metrics.ts, gateway/core/src/audit/metrics.ts).
import { auditNames, observeAudit, type ObservedAudit } from "@claviger/gateway-core/src/audit/metrics.ts";
import type { CertificateState } from "@claviger/proto/runtime/expiry.ts";
import { createMeter } from "@claviger/proto/runtime/meter.ts";
import {
  observeCertificates,
  observeProcess,
  type OwnProcess,
  processNames,
} from "@claviger/proto/runtime/process-metrics.ts";
import type { Service } from "@claviger/proto/runtime/resource.ts";

const program = "fleet";
const prefix = "claviger_fleet";

/** Names as they stand in Prometheus, but for the `_total` of counters. */
export const names = {
  ...processNames,
  ...auditNames(prefix),
  requests: "claviger_fleet_requests",
} as const;

export interface Metrics {
  /** @param result `ok`, or the code of Connect that it was refused with */
  called(method: string, result: string): void;
  // What follows is asked at each scrape.
  observeCertificates(read: () => readonly CertificateState[]): void;
  observeAudit(audit: ObservedAudit): void;
  /** @param own Node's `process` */
  observeProcess(version: string, own: OwnProcess): void;
  /** The page for a scraper. */
  readonly render: () => Promise<string>;
}

export function createMetrics(service?: Service): Metrics {
  const meter = createMeter({ ...(service && { service }) });
  const requests = meter.counter(names.requests, "Calls of FleetService");
  return {
    called: (method, result) => requests(1, { method, result }),
    observeCertificates: (read) => observeCertificates(meter, program, "claviger_fleet_certificate_seconds_left", read),
    observeAudit: (audit) => observeAudit(meter, prefix, audit),
    observeProcess: (ofProgram, own) => observeProcess(meter, program, ofProgram, own),
    render: meter.render,
  };
}
