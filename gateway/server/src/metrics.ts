// What the gateway counts. Labels and descriptions are here and nowhere else (those that all programs share:
// proto/runtime/process-metrics.ts and gateway/core/src/audit/metrics.ts), names in metric-names.ts; label values come
// from closed or bounded sets.
import { observeAudit, type ObservedAudit } from "@claviger/gateway-core/src/audit/metrics.ts";
import type { AddressState, LoginEnd } from "@claviger/gateway-core/src/backend/port.ts";
import type { RegistryNumbers } from "@claviger/gateway-core/src/registry/port.ts";
import { createBoundedLabel, otherValue } from "@claviger/proto/runtime/bounded-label.ts";
import type { CertificateState } from "@claviger/proto/runtime/expiry.ts";
import { createMeter } from "@claviger/proto/runtime/meter.ts";
import { observeCertificates, observeProcess, type OwnProcess } from "@claviger/proto/runtime/process-metrics.ts";
import type { Service } from "@claviger/proto/runtime/resource.ts";
import { type Reason, rowOf } from "@claviger/proto/wire/errors.ts";
import type { HandshakeFailure } from "@claviger/proto/wire/handshakes.ts";
import { earlierNames, names, prefix } from "./metric-names.ts";

const program = "gateway";
/** What kind of failure it was; `closed` is a port check as well. */
export type HandshakeKind = "closed" | "timeout" | "certificate" | "protocol";
/** The bounds of connections. */
export type ConnectionBound = "all" | "cluster" | "identity" | "handshakes";
/** A key in use: versions by number, `createdAt` of the promoted one in Unix seconds. */
export type KeyNumbers = {
  readonly backend: string;
  readonly key: string;
  readonly promoted: number;
  readonly latest: number | undefined;
  readonly createdAt: number;
};
export type CallOperation = "status" | "encrypt" | "decrypt";
export type BackendOperation = "wrap" | "unwrap" | "describe" | "promote";

export interface Metrics {
  started(): void;
  /** @param result `ok` or a reason of the error table */
  finished(method: string, result: string, milliseconds: number): void;
  /** KMS calls of a cluster of the registry, each item of a batch one. */
  clusterCalled(cluster: string, operation: CallOperation, reason: Reason | undefined, count?: number): void;
  handshakeFailed(kind: HandshakeKind, cause: HandshakeFailure): void;
  /** A request that Node's HTTP parser refused. */
  clientError(code: string): void;
  /** What a shim said of itself with a Status, and cannot be read. */
  readonly reportMalformed: () => void;
  /** A connection that was closed, or not taken, because a bound was reached. */
  connectionClosed(bound: ConnectionBound): void;
  /** A request that was refused before it was read: over the limit of calls, or too late for the backend. */
  shed(cause: "limit" | "time"): void;
  /** One batch call to a backend. */
  backendCalled(backend: string, operation: "wrap" | "unwrap", items: number): void;
  /** A call to a backend has ended. @param result `ok` or a reason of the error table */
  backendAnswered(backend: string, operation: BackendOperation, result: string, milliseconds: number): void;
  // What follows is asked at each scrape.
  /** @param read how many requests are let in at once; undefined while all are */
  observeRequestLimit(read: () => number | undefined): void;
  observeConnections(read: () => number): void;
  /** Earlier key versions that decrypt no longer. */
  observeBrokenVersions(read: () => number): void;
  /** Keys whose newest version could not be promoted. */
  observeUnpromotedVersions(read: () => number): void;
  /** Retired key versions that decrypt again. */
  observeReopenedVersions(read: () => number): void;
  /** @param read how often each key is read, milliseconds */
  observeKeyInterval(read: () => number): void;
  observeKeys(read: () => readonly KeyNumbers[]): void;
  observeAudit(audit: ObservedAudit): void;
  observeBackendAddresses(read: () => readonly (AddressState & { readonly backend: string })[]): void;
  /** Those of Vaults; undefined where a login does not end, or there is none now. */
  observeTokens(read: () => readonly { readonly backend: string; readonly end: LoginEnd | undefined }[]): void;
  observeRedis(isUp: () => boolean): void;
  observeRegistry(read: () => RegistryNumbers): void;
  /** Until the certificates in use expire. */
  observeCertificates(read: () => readonly CertificateState[]): void;
  /** @param own Node's `process` */
  observeProcess(version: string, own: OwnProcess): void;
  /** The page for a scraper. */
  readonly render: () => Promise<string>;
}

export type MetricsOptions = {
  readonly service?: Service;
  /** How many clusters, and how many keys, have series of their own. */
  readonly maxSeries?: number;
};

const secondsBounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
const itemBounds = [1, 2, 4, 8, 16, 32, 64, 128];
const defaultMaxSeries = 200;

export function createMetrics({ service, maxSeries = defaultMaxSeries }: MetricsOptions = {}): Metrics {
  const meter = createMeter({ ...(service && { service }), earlierNames });
  const ofCluster = createBoundedLabel(maxSeries);
  const ofKey = createBoundedLabel(maxSeries);
  const requests = meter.histogram(names.requests, "KMS requests by method and result", secondsBounds);
  const inFlight = meter.upDownCounter(names.inFlight, "KMS requests that have not been answered yet");
  const clusterCalls = meter.counter(
    names.clusterCalls,
    "KMS calls by cluster and how they ended, each item of a batch one",
  );
  const handshakeFailures = meter.counter(names.handshakeFailures, "TLS handshakes that failed");
  const clientErrors = meter.counter(names.clientErrors, "Requests that are no HTTP");
  const malformedReports = meter.counter(
    names.malformedReports,
    "Words of shims of themselves (claviger-shim) that cannot be read; the Status is answered all the same",
  );
  const connectionsClosed = meter.counter(
    names.connectionsClosed,
    "Connections that were closed because a bound was reached",
  );
  const shed = meter.counter(
    names.shed,
    "Requests that were refused before they were read, because this gateway could not serve them in time",
  );
  const backendCalls = meter.counter(names.backendCalls, "Batch calls to a key backend");
  const backendItems = meter.counter(names.backendItems, "Items in those calls");
  const backendBatch = meter.histogram(names.backendBatch, "Items of a batch call to a key backend", itemBounds);
  const backendDuration = meter.histogram(
    names.backendDuration,
    "Calls to a key backend by operation and result, failover between its addresses included",
    secondsBounds,
  );
  // What has not happened yet is 0: a rate of it begins with the first time.
  for (const cause of ["limit", "time"]) shed(0, { cause });
  for (const bound of ["all", "cluster", "identity", "handshakes"]) connectionsClosed(0, { bound });
  return {
    started: () => inFlight(1),
    finished(method, result, milliseconds) {
      inFlight(-1);
      requests(milliseconds / 1000, { method, result });
    },
    clusterCalled(cluster, operation, reason, count = 1) {
      const outcome = reason === undefined ? "ok" : rowOf(reason).kind;
      clusterCalls(count, { cluster: ofCluster(cluster), operation, outcome });
    },
    handshakeFailed: (kind, cause) => handshakeFailures(1, { kind, cause }),
    // Codes of the parser are a closed set; a system's error is told by its kind alone.
    clientError: (code) => clientErrors(1, { kind: code.startsWith("HPE_") ? "parser" : "connection" }),
    reportMalformed: () => malformedReports(1),
    connectionClosed: (bound) => connectionsClosed(1, { bound }),
    shed: (cause) => shed(1, { cause }),
    backendCalled(backend, operation, items) {
      backendCalls(1, { backend, operation });
      backendItems(items, { backend, operation });
      backendBatch(items, { backend, operation });
    },
    backendAnswered: (backend, operation, result, milliseconds) =>
      backendDuration(milliseconds / 1000, { backend, operation, result }),
    observeRequestLimit: (read) =>
      meter.gauge(
        names.requestLimit,
        "Requests that are let in at once, a further call of a batch being an eighth; absent while all are",
        read,
      ),
    observeConnections: (read) => meter.gauge(names.connections, "Open connections, handshakes included", read),
    observeBrokenVersions: (read) =>
      meter.gauge(
        names.brokenVersions,
        "Earlier key versions that decrypted no longer when they were last tried",
        read,
      ),
    observeUnpromotedVersions: (read) =>
      meter.gauge(
        names.unpromotedVersions,
        "Keys whose newest version does not encrypt because it could not be promoted",
        read,
      ),
    observeReopenedVersions: (read) =>
      meter.gauge(
        names.reopenedVersions,
        "Retired key versions that decrypt again: min_decryption_version was lowered while this gateway runs",
        read,
      ),
    observeKeyInterval: (read) =>
      meter.gauge(
        names.keyInterval,
        "How often each key is read from its backend; grows with the number of keys in use",
        () => read() / 1000,
      ),
    observeKeys(read) {
      // Versions of several keys say nothing together; of their ages the highest counts.
      const shown = () => read().map((key) => ({ ...key, labels: { backend: key.backend, key: ofKey(key.key) } }));
      const single = () => shown().filter(({ labels }) => labels.key !== otherValue);
      meter.gauge(names.keyPromoted, "The version of a key in use that encrypts", () =>
        single().map(({ promoted, labels }) => ({ value: promoted, labels })),
      );
      meter.gauge(names.keyLatest, "The newest version of a key in use, promoted or not", () =>
        single().flatMap(({ latest, labels }) => (latest === undefined ? [] : [{ value: latest, labels }])),
      );
      meter.gauge(
        names.keyCreated,
        "When the version that encrypts was made, Unix time; of `other` keys the oldest",
        () => {
          const oldest = new Map<string, ReturnType<typeof shown>[number]>();
          for (const one of shown()) {
            const id = `${one.backend} ${one.labels.key}`;
            if ((oldest.get(id)?.createdAt ?? Number.POSITIVE_INFINITY) > one.createdAt) oldest.set(id, one);
          }
          return [...oldest.values()].map(({ createdAt, labels }) => ({ value: createdAt, labels }));
        },
      );
    },
    observeAudit: (audit) => observeAudit(meter, prefix, audit),
    observeBackendAddresses(read) {
      meter.gauge(names.addressUp, "1 while an address of a backend serves", () =>
        read().map(({ backend, address, isUp }) => ({ value: isUp ? 1 : 0, labels: { backend, address } })),
      );
      meter.gauge(names.addressLatency, "Usual time of an answer from an address of a backend", () =>
        read().flatMap(({ backend, address, latencyMs }) =>
          latencyMs === undefined ? [] : [{ value: latencyMs / 1000, labels: { backend, address } }],
        ),
      );
    },
    observeTokens: (read) =>
      meter.gauge(
        names.tokenExpiry,
        "When the Vault token in use ends unless it is renewed, Unix time; absent while there is none, or it never ends",
        () =>
          read().flatMap(({ backend, end }) =>
            end === undefined
              ? []
              : [{ value: end.until / 1000, labels: { backend, renewal: end.isLast ? "none" : "automatic" } }],
          ),
      ),
    observeRedis: (isUp) =>
      meter.gauge(names.redisUp, "1 while Redis answers; absent without Redis", () => (isUp() ? 1 : 0)),
    observeRegistry(read) {
      meter.gauge(names.registryClusters, "Clusters whose records this gateway has", () => read().clusters);
      meter.gauge(
        names.registryProblems,
        "What is wrong with the newest edits of the registry; the last good state of what is wrong stays in force",
        () => read().problems,
      );
      meter.gauge(
        names.registryGoodAt,
        "When the registry was read last and nothing was wrong with it as a whole, Unix time",
        () => read().goodAt,
      );
      meter.gauge(
        names.registryEdit,
        "The number of the registry's edit that is in force; of a registry in Vault alone",
        () => read().edit,
      );
    },
    observeCertificates: (read) =>
      observeCertificates(meter, program, "claviger_gateway_certificate_seconds_left", read),
    observeProcess: (ofProgram, own) => observeProcess(meter, program, ofProgram, own),
    render: meter.render,
  };
}
