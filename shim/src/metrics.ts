// What the shim counts. Names, labels and descriptions are here and nowhere else, but for those that all programs
// share (proto/runtime/process-metrics.ts); label values come from closed sets. Every series has the cluster and
// the node of the shim's certificate.
import type { CertificateState } from "@claviger/proto/runtime/expiry.ts";
import { createMeter } from "@claviger/proto/runtime/meter.ts";
import {
  observeCertificates,
  observeProcess,
  type OwnProcess,
  processNames,
} from "@claviger/proto/runtime/process-metrics.ts";
import type { Service } from "@claviger/proto/runtime/resource.ts";
import type { HandshakeFailure } from "@claviger/proto/wire/handshakes.ts";
import type { OutagePhase } from "@claviger/proto/wire/shim-report.ts";

const program = "shim";

/** Names as they stand in Prometheus, but for the `_total` of counters. */
export const names = {
  ...processNames,
  calls: "claviger_shim_call_duration_seconds",
  inFlight: "claviger_shim_calls_in_flight",
  upstream: "claviger_shim_upstream_requests",
  coalesced: "claviger_shim_decrypts_coalesced",
  retries: "claviger_shim_retries",
  handshakeFailures: "claviger_shim_handshake_failures",
  gatewayUp: "claviger_shim_gateway_up",
  phase: "claviger_shim_outage_phase",
  goodAt: "claviger_shim_last_good_status_timestamp_seconds",
  sinceGood: "claviger_shim_seconds_since_good_status",
} as const;

/** Shown under these names as well, until the next release. */
export const earlierNames: Readonly<Record<string, string>> = {
  [names.calls]: "claviger_shim_call_duration",
};

export interface Metrics {
  started(): void;
  /** @param result `ok` or a reason of the error table */
  finished(method: string, result: string, milliseconds: number): void;
  upstreamAsked(method: string, result: string): void;
  coalesced(): void;
  retried(): void;
  /** A TLS handshake with a gateway that one side refused. */
  handshakeFailed(refusedBy: "shim" | "gateway", cause: HandshakeFailure): void;
  // What follows is asked at each scrape.
  observeGateways(read: () => readonly { readonly gateway: string; readonly isUp: boolean }[]): void;
  observeOutage(read: () => { readonly phase: OutagePhase; readonly secondsSinceGood: number | undefined }): void;
  /** Until the certificates in use expire. */
  observeCertificates(read: () => readonly CertificateState[]): void;
  /** @param own Node's `process` */
  observeProcess(version: string, own: OwnProcess): void;
  readonly render: () => Promise<string>;
}

const secondsBounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

export function createMetrics(service?: Service): Metrics {
  const meter = createMeter({ ...(service && { service }), earlierNames });
  const calls = meter.histogram(names.calls, "KMS calls of kube-apiserver by method and result", secondsBounds);
  const inFlight = meter.upDownCounter(names.inFlight, "KMS calls that have not been answered yet");
  const upstream = meter.counter(names.upstream, "Requests to gateways by method and result");
  const coalesced = meter.counter(names.coalesced, "Decrypts that shared another one's request");
  const retries = meter.counter(names.retries, "Second and further tries, hedges included");
  const handshakeFailures = meter.counter(
    names.handshakeFailures,
    "TLS handshakes with gateways that one side refused",
  );
  // What has not happened yet is 0: a rate of it begins with the first time.
  coalesced(0);
  retries(0);
  return {
    started: () => inFlight(1),
    finished(method, result, milliseconds) {
      inFlight(-1);
      calls(milliseconds / 1000, { method, result });
    },
    upstreamAsked: (method, result) => upstream(1, { method, result }),
    coalesced: () => coalesced(1),
    retried: () => retries(1),
    handshakeFailed: (refusedBy, cause) => handshakeFailures(1, { refused_by: refusedBy, cause }),
    observeGateways: (read) =>
      meter.gauge(names.gatewayUp, "1 while calls go to this gateway, 0 while it is asked last because it failed", () =>
        read().map(({ gateway, isUp }) => ({ value: isUp ? 1 : 0, labels: { gateway } })),
      ),
    observeOutage(read) {
      meter.gauge(
        names.phase,
        "0 none, 1 ready on the last key_id, 2 healthz names the cause, 3 error",
        () => read().phase,
      );
      meter.gauge(names.goodAt, "When a Status was good last, Unix time; 0 where none ever was", () => {
        const { secondsSinceGood } = read();
        return secondsSinceGood === undefined ? 0 : Date.now() / 1000 - secondsSinceGood;
      });
      meter.gauge(
        names.sinceGood,
        `Earlier form of ${names.goodAt}, in seconds until now; the next release has it no more`,
        () => read().secondsSinceGood,
      );
    },
    observeCertificates: (read) => observeCertificates(meter, program, "claviger_shim_certificate_seconds_left", read),
    observeProcess: (ofProgram, own) => observeProcess(meter, program, ofProgram, own),
    render: meter.render,
  };
}
