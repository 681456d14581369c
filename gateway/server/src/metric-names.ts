// The names of the gateway's metrics, as they stand in Prometheus. What they count is in metrics.ts.
import { auditNames } from "@claviger/gateway-core/src/audit/metrics.ts";
import { processNames } from "@claviger/proto/runtime/process-metrics.ts";

/** What the names of the gateway's own begin with. */
export const prefix = "claviger_gateway";

/** Names as they stand in Prometheus, but for the `_total` of counters. */
export const names = {
  ...processNames,
  ...auditNames(prefix),
  requests: "claviger_gateway_request_duration_seconds",
  inFlight: "claviger_gateway_requests_in_flight",
  clusterCalls: "claviger_gateway_cluster_calls",
  handshakeFailures: "claviger_gateway_handshake_failures",
  clientErrors: "claviger_gateway_client_errors",
  malformedReports: "claviger_gateway_malformed_shim_reports",
  connections: "claviger_gateway_connections",
  connectionsClosed: "claviger_gateway_connections_closed",
  backendCalls: "claviger_gateway_backend_calls",
  backendItems: "claviger_gateway_backend_items",
  backendBatch: "claviger_gateway_backend_batch_items",
  backendDuration: "claviger_gateway_backend_call_duration_seconds",
  brokenVersions: "claviger_gateway_broken_key_versions",
  unpromotedVersions: "claviger_gateway_unpromoted_key_versions",
  reopenedVersions: "claviger_gateway_reopened_key_versions",
  keyInterval: "claviger_gateway_key_refresh_interval_seconds",
  keyPromoted: "claviger_gateway_key_promoted_version",
  keyLatest: "claviger_gateway_key_latest_version",
  keyCreated: "claviger_gateway_key_created_timestamp_seconds",
  shed: "claviger_gateway_requests_shed",
  requestLimit: "claviger_gateway_request_limit",
  addressUp: "claviger_gateway_backend_address_up",
  addressLatency: "claviger_gateway_backend_address_latency_seconds",
  tokenExpiry: "claviger_gateway_vault_token_expiry_timestamp_seconds",
  redisUp: "claviger_gateway_redis_up",
  registryClusters: "claviger_gateway_registry_clusters",
  registryProblems: "claviger_gateway_registry_problems",
  registryGoodAt: "claviger_gateway_registry_last_good_read_timestamp_seconds",
  registryEdit: "claviger_gateway_registry_edit_number",
} as const;

/** Shown under these names as well, until the next release. */
export const earlierNames: Readonly<Record<string, string>> = {
  [names.requests]: "claviger_gateway_request_duration",
  [names.keyInterval]: "claviger_gateway_key_refresh",
  [names.addressLatency]: "claviger_gateway_backend_address_latency",
  [names.loopUtilization]: "claviger_gateway_event_loop_utilization",
};
