// The values that the charts are tried with: one set for each way of installing them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ChartName, Values } from "./chart.ts";

export type Variant = {
  readonly chart: ChartName;
  readonly values: Values;
  /** The kinds that are made of them, hooks included. */
  readonly kinds: readonly string[];
  /** The configurations of programs in it. */
  readonly configurations: readonly string[];
  /** The profile of Pod Security that its namespace enforces. */
  readonly profile: "restricted" | "privileged";
};

const vault = { kind: "vault", addresses: ["https://vault.example:8200"], tls: { ca: "/etc/claviger/vault/ca.crt" } };
const appRole = {
  kind: "approle",
  roleIdFile: "/etc/claviger/vault/role-id",
  secretIdFile: "/etc/claviger/vault/secret-id",
};
const registry = { kind: "vault", backend: "main", mount: "claviger" };
const central = [
  "ConfigMap",
  "Deployment",
  "HorizontalPodAutoscaler",
  "NetworkPolicy",
  "Pod",
  "PodDisruptionBudget",
  "Service",
  "ServiceAccount",
];
const ofGateway = { configurations: ["gateway.yaml"], profile: "restricted" } as const;
const ofShim = { configurations: ["shim.yaml"], profile: "privileged" } as const;
const record = {
  name: "prod-eu",
  uid: "01JD9Z6X3QK8V5T7W2M4N6P8RA",
  state: "active",
  keys: [{ backend: "main", mount: "transit", key: "prod-eu" }],
};

/** Gateways with an AppRole and a registry in a ConfigMap: the values that others change a little. */
export const gateway = {
  image: { repository: "registry.example/claviger-gateway" },
  tls: { existingSecret: "claviger-gateway-tls" },
  vault: { existingSecret: "claviger-gateway-vault" },
  registry: { clusters: [record] },
  config: { trustDomain: "fleet.example", backends: { main: { ...vault, auth: appRole } } },
};
export const fleet = {
  enabled: true,
  image: { repository: "registry.example/claviger-fleet" },
  tls: { existingSecret: "claviger-fleet-tls" },
  trustBundle: { configMap: "claviger-fleet-trust" },
  vault: { existingSecret: "claviger-fleet-vault" },
  config: {
    trustDomain: "fleet.example",
    registry,
    tokens: { kind: "vault", backend: "main", mount: "claviger" },
    certificates: { ca: { kind: "vault", backend: "main", mount: "pki", role: "claviger-node" } },
    gateways: ["https://gateway.fleet.example:8443"],
    operators: { ada: { role: "admin" } },
    backends: { main: { ...vault, auth: appRole } },
  },
};
/** The shim as static pods. */
export const shim = {
  image: { repository: "registry.example/claviger-shim" },
  config: { gateways: ["https://gateway-a.fleet.example:8443", "https://gateway-b.fleet.example:8443"] },
};
const { registry: _, ...elsewhere } = gateway;
const serviceAccountToken = { enabled: true };
const agentHcl = readFileSync(join(import.meta.dirname, "..", "..", "..", "infra", "vault-agent", "agent.hcl"), "utf8");

export const variants: Readonly<Record<string, Variant>> = {
  "Secrets that are there, and an AppRole": { chart: "claviger", values: { gateway }, kinds: central, ...ofGateway },
  "a login with the ServiceAccount, and the registry in Vault": {
    chart: "claviger",
    values: {
      gateway: {
        ...elsewhere,
        vault: { ...gateway.vault, serviceAccountToken },
        config: {
          ...gateway.config,
          registry,
          backends: {
            main: {
              ...vault,
              auth: { kind: "kubernetes", role: "claviger-gateway", jwtFile: "/run/claviger-login/token" },
            },
          },
        },
      },
    },
    kinds: [...central, "ClusterRoleBinding"],
    ...ofGateway,
  },
  "a Vault Agent": {
    chart: "claviger",
    values: {
      gateway: {
        ...gateway,
        vault: {
          ...gateway.vault,
          agent: { enabled: true, image: { repository: "openbao/openbao", tag: "2.7.2" }, config: agentHcl },
        },
        config: {
          ...gateway.config,
          backends: { main: { ...vault, auth: { kind: "token-file", file: "/run/vault/token" } } },
        },
      },
    },
    kinds: central,
    ...ofGateway,
  },
  "certificates of cert-manager": {
    chart: "claviger",
    values: {
      gateway: {
        ...gateway,
        tls: {
          certManager: {
            enabled: true,
            issuerRef: { name: "fleet", kind: "ClusterIssuer" },
            dnsNames: ["gateway.fleet.example"],
            ipAddresses: ["192.0.2.7"],
            uris: ["spiffe://fleet.example/gateway"],
            duration: "2160h",
            renewBefore: "720h",
          },
          clientCa: { configMap: "fleet-nodes", key: "bundle.crt" },
        },
      },
    },
    kinds: [...central, "Certificate"],
    ...ofGateway,
  },
  "certificates of SPIRE": {
    chart: "claviger",
    values: {
      gateway: {
        ...gateway,
        tls: {
          spire: {
            enabled: true,
            image: { repository: "registry.example/spiffe-helper", tag: "0.10.1" },
            registration: { dnsNames: ["gateway.fleet.example"] },
          },
        },
      },
    },
    kinds: [...central, "ClusterSPIFFEID"],
    ...ofGateway,
  },
  "Secrets of External Secrets": {
    chart: "claviger",
    values: {
      externalSecrets: ["claviger-gateway-tls", "claviger-gateway-vault"].map((name) => ({
        name,
        secretStoreRef: { name: "vault", kind: "ClusterSecretStore" },
        data: ["tls.crt", "tls.key", "ca.crt"].map((property) => ({
          secretKey: property,
          remoteRef: { key: `fleet/${name}`, property },
        })),
      })),
      gateway,
    },
    kinds: [...central, "ExternalSecret"],
    ...ofGateway,
  },
  "the fleet service alone": {
    chart: "claviger",
    values: { gateway: { enabled: false }, fleet: { ...fleet, serviceMonitor: { enabled: true } } },
    kinds: [...central.filter((kind) => kind !== "HorizontalPodAutoscaler"), "ServiceMonitor"],
    configurations: ["fleet.yaml"],
    profile: "restricted",
  },
  "gateways and fleet service with all that can be set": {
    chart: "claviger",
    values: {
      fullnameOverride: "kms",
      commonLabels: { team: "security" },
      commonAnnotations: { "example.com/owner": "security" },
      imagePullSecrets: [{ name: "pull" }],
      prometheusRule: { enabled: true, labels: { release: "prometheus" } },
      gateway: {
        ...gateway,
        image: { repository: "registry.example/claviger-gateway", digest: `sha256:${"0".repeat(64)}` },
        config: {
          ...gateway.config,
          listen: { limits: { bodyBytes: 134_217_728, idle: "1h" } },
          integrity: { backend: "main", mount: "transit", key: "claviger-integrity", version: 1 },
          redis: {
            kind: "standalone",
            node: "redis.example:6379",
            passwordFile: "/etc/claviger/vault/redis-password",
          },
          keys: { refresh: "20s" },
        },
        replicas: 2,
        autoscaling: { enabled: false },
        podMonitor: { enabled: true, interval: "15s", labels: { release: "prometheus" } },
        podDisruptionBudget: { maxUnavailable: "50%" },
        priorityClassName: "system-cluster-critical",
        nodeSelector: { "kubernetes.io/os": "linux" },
        tolerations: [{ key: "dedicated", operator: "Exists" }],
        affinity: { nodeAffinity: {} },
        podLabels: { mesh: "off" },
        podAnnotations: { "example.com/scrape": "no" },
        user: null,
        serviceAccount: { name: "gateways" },
        service: {
          type: "LoadBalancer",
          annotations: { "example.com/scheme": "internal" },
          loadBalancerClass: "example.com/l4",
          loadBalancerSourceRanges: ["192.0.2.0/24"],
        },
        extraVolumes: [{ name: "audit", emptyDir: {} }],
        extraVolumeMounts: [{ name: "audit", mountPath: "/var/log/claviger" }],
      },
      fleet: { ...fleet, autoscaling: { enabled: true } },
    },
    kinds: [...central, "PodMonitor", "PrometheusRule"],
    configurations: ["fleet.yaml", "gateway.yaml"],
    profile: "restricted",
  },
  "static pods": {
    chart: "claviger-shim",
    values: { ...shim, check: { image: { repository: "registry.example/claviger" } } },
    kinds: ["ConfigMap", "DaemonSet", "Pod", "ServiceAccount"],
    ...ofShim,
  },
  "static pods with certificates by enrollment": {
    chart: "claviger-shim",
    values: {
      ...shim,
      encrypted: ["*.*"],
      config: {
        ...shim.config,
        tls: {
          cert: "/var/lib/claviger/node.pem",
          key: "/var/lib/claviger/node.pem",
          ca: "/var/lib/claviger/ca.pem",
          serverIdentities: ["spiffe://fleet.example/gateway"],
        },
        renewal: { url: "https://fleet.example:8444" },
        health: { address: "0.0.0.0", port: 9101 },
      },
      podMonitor: { enabled: true },
      podLabels: { mesh: "off" },
      podAnnotations: { "example.com/scrape": "no" },
    },
    kinds: ["ConfigMap", "DaemonSet", "Pod", "PodMonitor", "ServiceAccount"],
    ...ofShim,
  },
  "a DaemonSet": {
    chart: "claviger-shim",
    values: { ...shim, mode: "daemonset" },
    kinds: ["ConfigMap", "DaemonSet", "Pod", "ServiceAccount"],
    ...ofShim,
  },
};
