// What the three dashboards show: the fleet, a cluster, a gateway. `node infra/mixin/build.ts` makes them.
import type { Board, Panel, Query } from "./grafana.ts";

type Queries = Readonly<Record<string, string>>;

/** @param queries by their legends */
function listOf(queries: Queries): readonly Query[] {
  return Object.entries(queries).map(([legend, expr]) => ({ legend, expr }));
}
function number(title: string, unit: string, expr: string): Panel {
  return { title, unit, kind: "number", queries: [{ expr, legend: "" }] };
}
function graph(title: string, unit: string, queries: Queries, description?: string): Panel {
  return { title, unit, kind: "graph", queries: listOf(queries), ...(description !== undefined && { description }) };
}

/** Of a histogram: how long at most, for this share of the calls. */
function quantile(share: number, bucket: string, by: string): string {
  return `histogram_quantile(${share}, sum by (le, ${by}) (rate(${bucket}[$__rate_interval])))`;
}
const left = (expr: string): string => `${expr} - time()`;

const clusters = { name: "cluster", values: "label_values(claviger_gateway_cluster_calls_total, cluster)" };
const ofCluster = 'cluster=~"$cluster"';
const ofGateway = 'instance=~"$gateway"';
const decrypts = `method=~"decrypt|v1Decrypt",${ofCluster}`;

const fleet: Board = {
  uid: "claviger-fleet",
  title: "Claviger / Fleet",
  choices: [clusters],
  rows: [
    {
      title: "Now",
      panels: [
        number("Clusters in the registry", "short", "max(claviger_gateway_registry_clusters)"),
        number("Gateways heard", "short", 'count(claviger_build_info{program="gateway"})'),
        number("Nodes heard", "short", `count(claviger_build_info{program="shim",${ofCluster}})`),
        number("Nodes in an outage", "short", `count(claviger_shim_outage_phase{${ofCluster}} > 0) or vector(0)`),
      ],
    },
    {
      title: "Objectives",
      panels: [
        graph("Decrypts that failed, of an hour", "percentunit", {
          "{{cluster}}": `claviger:decrypt_errors:ratio_rate1h{${ofCluster}}`,
          objective: "vector(0.001)",
        }),
        graph("Status without a gateway's word, of an hour", "percentunit", {
          "{{cluster}}": `claviger:status_unconfirmed:ratio1h{${ofCluster}}`,
          objective: "vector(0.001)",
        }),
      ],
    },
    {
      title: "Calls",
      panels: [
        graph("Calls by operation", "reqps", {
          "{{operation}}": `sum by (operation) (rate(claviger_gateway_cluster_calls_total{${ofCluster}}[$__rate_interval]))`,
        }),
        graph("Calls by cluster", "reqps", {
          "{{cluster}}": `topk(10, sum by (cluster) (rate(claviger_gateway_cluster_calls_total{${ofCluster}}[$__rate_interval])))`,
        }),
        graph(
          "Calls that were not served",
          "reqps",
          {
            "{{cluster}} {{outcome}}": `sum by (cluster, outcome) (rate(claviger_gateway_cluster_calls_total{outcome!="ok",${ofCluster}}[$__rate_interval]))`,
          },
          "outage: something was away. refusal: a decision. caller: a bad request.",
        ),
        graph("Versions", "short", {
          "{{program}} {{version}}": "count by (program, version) (claviger_build_info)",
        }),
      ],
    },
    {
      title: "Keys and what gateways depend on",
      panels: [
        graph("Age of the oldest keys", "s", {
          "{{key}}": "topk(10, time() - min by (backend, key) (claviger_gateway_key_created_timestamp_seconds))",
        }),
        graph("Key versions that need a person", "short", {
          "do not decrypt": "max(claviger_gateway_broken_key_versions)",
          "not promoted": "max(claviger_gateway_unpromoted_key_versions)",
          "decrypt again": "max(claviger_gateway_reopened_key_versions)",
        }),
        graph("Gateways that reach each address of a backend", "short", {
          "{{backend}} {{address}}": "sum by (backend, address) (claviger_gateway_backend_address_up)",
        }),
        graph("Certificates that end first", "s", {
          "{{program}} {{instance}} {{role}}": left("bottomk(10, claviger_certificate_expiry_timestamp_seconds)"),
        }),
        graph("Problems of the registry", "short", { "{{instance}}": "claviger_gateway_registry_problems" }),
        graph("Audit sinks that take records", "short", {
          "{{instance}} {{sink}}": "claviger_gateway_audit_sink_up",
          "fleet service {{instance}} {{sink}}": "claviger_fleet_audit_sink_up",
        }),
        graph("Calls of the fleet service", "reqps", {
          "{{method}} {{result}}": "sum by (method, result) (rate(claviger_fleet_requests_total[$__rate_interval]))",
        }),
      ],
    },
  ],
};

const cluster: Board = {
  uid: "claviger-cluster",
  title: "Claviger / Cluster",
  choices: [clusters],
  rows: [
    {
      title: "Nodes",
      panels: [
        graph(
          "Phase of an outage",
          "short",
          { "{{cluster}}/{{node}}": `claviger_shim_outage_phase{${ofCluster}}` },
          "0 none, 1 ready on the last key_id, 2 not healthy, 3 error",
        ),
        graph("Age of the last good Status", "s", {
          "{{cluster}}/{{node}}": `time() - claviger_shim_last_good_status_timestamp_seconds{${ofCluster}}`,
        }),
        graph("Gateways that each node reaches", "short", {
          "{{cluster}}/{{node}}": `sum by (cluster, node) (claviger_shim_gateway_up{${ofCluster}})`,
        }),
        graph("Certificates end in", "s", {
          "{{cluster}}/{{node}} {{role}}": left(
            `claviger_certificate_expiry_timestamp_seconds{program="shim",${ofCluster}}`,
          ),
        }),
      ],
    },
    {
      title: "Calls of kube-apiserver",
      panels: [
        graph("Calls by method", "reqps", {
          "{{method}}": `sum by (method) (rate(claviger_shim_call_duration_seconds_count{${ofCluster}}[$__rate_interval]))`,
        }),
        graph("Calls by node", "reqps", {
          "{{cluster}}/{{node}}": `sum by (cluster, node) (rate(claviger_shim_call_duration_seconds_count{${ofCluster}}[$__rate_interval]))`,
        }),
        graph("Calls that failed, by reason", "reqps", {
          "{{method}} {{result}}": `sum by (method, result) (rate(claviger_shim_call_duration_seconds_count{result!="ok",${ofCluster}}[$__rate_interval]))`,
        }),
        graph("Duration, 99 of 100", "s", {
          "{{method}}": quantile(0.99, `claviger_shim_call_duration_seconds_bucket{${ofCluster}}`, "method"),
        }),
        graph("Duration of Decrypts", "s", {
          half: quantile(0.5, `claviger_shim_call_duration_seconds_bucket{${decrypts}}`, "cluster"),
          "99 of 100": quantile(0.99, `claviger_shim_call_duration_seconds_bucket{${decrypts}}`, "cluster"),
        }),
        graph("Calls that wait for their answer", "short", {
          "{{cluster}}/{{node}}": `claviger_shim_calls_in_flight{${ofCluster}}`,
        }),
      ],
    },
    {
      title: "Between shims and gateways",
      panels: [
        graph("Requests to gateways", "reqps", {
          "{{method}} {{result}}": `sum by (method, result) (rate(claviger_shim_upstream_requests_total{${ofCluster}}[$__rate_interval]))`,
        }),
        graph("Second tries, and Decrypts that shared a request", "reqps", {
          "second tries": `sum(rate(claviger_shim_retries_total{${ofCluster}}[$__rate_interval]))`,
          shared: `sum(rate(claviger_shim_decrypts_coalesced_total{${ofCluster}}[$__rate_interval]))`,
        }),
        graph("Calls as gateways saw them", "reqps", {
          "{{operation}} {{outcome}}": `sum by (operation, outcome) (rate(claviger_gateway_cluster_calls_total{${ofCluster}}[$__rate_interval]))`,
        }),
        graph("Event loop of the shims", "percentunit", {
          "{{cluster}}/{{node}}": `claviger_event_loop_utilization_ratio{program="shim",${ofCluster}}`,
        }),
      ],
    },
  ],
};

const gateway: Board = {
  uid: "claviger-gateway",
  title: "Claviger / Gateway",
  choices: [{ name: "gateway", values: 'label_values(claviger_build_info{program="gateway"}, instance)' }, clusters],
  rows: [
    {
      title: "Requests",
      panels: [
        graph("Requests by method", "reqps", {
          "{{method}}": `sum by (method) (rate(claviger_gateway_request_duration_seconds_count{${ofGateway}}[$__rate_interval]))`,
        }),
        graph("Requests that were not served, by reason", "reqps", {
          "{{result}}": `sum by (result) (rate(claviger_gateway_request_duration_seconds_count{result!="ok",${ofGateway}}[$__rate_interval]))`,
        }),
        graph("Duration, 99 of 100", "s", {
          "{{instance}}": `claviger:gateway_request_duration_seconds:p99_5m{${ofGateway}}`,
        }),
        graph("Calls by cluster", "reqps", {
          "{{cluster}}": `topk(10, sum by (cluster) (rate(claviger_gateway_cluster_calls_total{${ofGateway},${ofCluster}}[$__rate_interval])))`,
        }),
        graph("Requests that wait, connections", "short", {
          "{{instance}} requests": `claviger_gateway_requests_in_flight{${ofGateway}}`,
          "{{instance}} connections": `claviger_gateway_connections{${ofGateway}}`,
        }),
        graph("Refused for want of time, connections closed at a bound", "reqps", {
          "requests: {{cause}}": `sum by (cause) (rate(claviger_gateway_requests_shed_total{${ofGateway}}[$__rate_interval]))`,
          "connections: {{bound}}": `sum by (bound) (rate(claviger_gateway_connections_closed_total{${ofGateway}}[$__rate_interval]))`,
        }),
      ],
    },
    {
      title: "Process",
      panels: [
        graph("Event loop", "percentunit", {
          "{{instance}}": `claviger_event_loop_utilization_ratio{program="gateway",${ofGateway}}`,
        }),
        graph("Delay of the event loop", "s", {
          "{{instance}} {{statistic}}": `claviger_event_loop_delay_seconds{program="gateway",statistic!="max",${ofGateway}}`,
        }),
        graph("Processor", "percentunit", {
          "{{instance}}": `rate(process_cpu_seconds_total{${ofGateway}}[$__rate_interval])`,
        }),
        graph("Memory", "bytes", { "{{instance}}": `process_resident_memory_bytes{${ofGateway}}` }),
      ],
    },
    {
      title: "Backends",
      panels: [
        graph("Calls by operation", "reqps", {
          "{{backend}} {{operation}}": `sum by (backend, operation) (rate(claviger_gateway_backend_call_duration_seconds_count{${ofGateway}}[$__rate_interval]))`,
        }),
        graph("Calls that failed, by reason", "reqps", {
          "{{backend}} {{result}}": `sum by (backend, result) (rate(claviger_gateway_backend_call_duration_seconds_count{result!="ok",${ofGateway}}[$__rate_interval]))`,
        }),
        graph("Duration of calls", "s", {
          "{{backend}} {{operation}}, 99 of 100": quantile(
            0.99,
            `claviger_gateway_backend_call_duration_seconds_bucket{${ofGateway}}`,
            "backend, operation",
          ),
        }),
        graph("Items of a batch", "short", {
          "{{backend}} {{operation}}": `sum by (backend, operation) (rate(claviger_gateway_backend_batch_items_sum{${ofGateway}}[$__rate_interval])) / sum by (backend, operation) (rate(claviger_gateway_backend_batch_items_count{${ofGateway}}[$__rate_interval]))`,
        }),
        graph("Usual time of an answer, by address", "s", {
          "{{backend}} {{address}}": `max by (backend, address) (claviger_gateway_backend_address_latency_seconds{${ofGateway}})`,
        }),
        graph("Vault tokens end in", "s", {
          "{{instance}} {{backend}} {{renewal}}": left(
            `claviger_gateway_vault_token_expiry_timestamp_seconds{${ofGateway}}`,
          ),
        }),
      ],
    },
    {
      title: "Keys, registry, audit, Redis",
      panels: [
        graph("Promoted version", "short", {
          "{{key}}": `max by (backend, key) (claviger_gateway_key_promoted_version{${ofGateway}})`,
        }),
        graph("Keys are read every", "s", {
          "{{instance}}": `claviger_gateway_key_refresh_interval_seconds{${ofGateway}}`,
        }),
        graph("Age of the last good read of the registry", "s", {
          "{{instance}}": `time() - claviger_gateway_registry_last_good_read_timestamp_seconds{${ofGateway}}`,
        }),
        graph("Audit records that wait", "bytes", {
          "{{instance}} {{sink}}": `claviger_gateway_audit_queue_bytes{${ofGateway}}`,
        }),
        graph("Audit: writes that failed, records that are missing", "reqps", {
          "failed: {{instance}} {{sink}}": `rate(claviger_gateway_audit_sink_failures_total{${ofGateway}}[$__rate_interval])`,
          "missing: {{instance}} {{sink}}": `rate(claviger_gateway_audit_records_missed_total{${ofGateway}}[$__rate_interval])`,
        }),
        graph("Redis answers", "short", { "{{instance}}": `claviger_gateway_redis_up{${ofGateway}}` }),
      ],
    },
  ],
};

export const boards: readonly Board[] = [fleet, cluster, gateway];
