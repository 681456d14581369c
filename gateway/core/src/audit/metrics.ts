// What a program shows of its audit log, under names that begin with its own.
import type { Meter } from "@claviger/proto/runtime/meter.ts";
import type { AuditLog } from "./log.ts";

/** @param prefix `claviger_gateway` or `claviger_fleet` */
export function auditNames(prefix: string) {
  return {
    auditMissed: `${prefix}_audit_records_missed`,
    auditFailures: `${prefix}_audit_sink_failures`,
    auditUp: `${prefix}_audit_sink_up`,
    auditQueue: `${prefix}_audit_queue_bytes`,
    auditHead: `${prefix}_audit_head_signed_timestamp_seconds`,
  } as const;
}

/** What is asked of it at each scrape. */
export type ObservedAudit = Pick<AuditLog, "sinks" | "signedAt">;

export function observeAudit(meter: Meter, prefix: string, audit: ObservedAudit): void {
  const names = auditNames(prefix);
  const ofSinks = (read: (sink: ReturnType<ObservedAudit["sinks"]>[number]) => number) => () =>
    audit.sinks().map((sink) => ({ value: read(sink), labels: { sink: sink.name } }));
  meter.observedCounter(
    names.auditMissed,
    "Audit records that a sink does not have",
    ofSinks(({ missed }) => missed),
  );
  meter.observedCounter(
    names.auditFailures,
    "Writes to a sink that failed, took too long, or found its queue full",
    ofSinks(({ failures }) => failures),
  );
  meter.gauge(
    names.auditUp,
    "1 while a sink takes audit records",
    ofSinks(({ problem }) => (problem === undefined ? 1 : 0)),
  );
  meter.gauge(
    names.auditQueue,
    "Audit records that wait for a sink; 8 MiB at most",
    ofSinks(({ queuedBytes }) => queuedBytes),
  );
  meter.gauge(
    names.auditHead,
    "Since when there may be audit records that no signed head covers, Unix time: the last signature, or the start; absent without `integrity`",
    () => audit.signedAt(),
  );
}
