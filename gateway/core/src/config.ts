// The gateway's configuration: a YAML file → one frozen object, or every problem at once.
import {
  checkConfig,
  ConfigError,
  isTree,
  readYamlFile,
  z,
  zDuration,
  zInteger,
  zName,
  zPath,
} from "@claviger/proto/runtime/config.ts";
import { backendName, trustDomain } from "@claviger/proto/wire/names.ts";
import { tracingSchema } from "@claviger/proto/runtime/tracing.ts";
import { sinkSchema } from "./audit/config.ts";
import { backendSchema } from "./backend/config.ts";
import { selectorSchema } from "./registry/labels.ts";
import { vaultRegistrySchema } from "./registry/vault.ts";
import { integritySchema } from "./key/integrity.ts";
import { redisSchema } from "./redis/config.ts";

const listener = z.strictObject({
  /** The address to listen on. */
  address: z._default(z.string(), "127.0.0.1"),
  /** The port to listen on; 0 takes a free one. */
  port: zInteger(0, 65_535),
});

const mebibyte = 2 ** 20;

const listenLimits = z.strictObject({
  /**
   * Connections of all. Without it as many as the memory limit of the process leaves room for, 20000
   * at most; never more than its limit of open files allows. The one that has been idle for longest
   * is closed first.
   */
  connections: z.optional(zInteger(8, 1_000_000)),
  /** Connections of one client certificate's names. Those of `trustedProxies` are not bounded by it. */
  connectionsPerIdentity: z._default(zInteger(1, 100_000), 64),
  /** Connections of all nodes of a cluster. Those of `trustedProxies` are not bounded by it. */
  connectionsPerCluster: z._default(zInteger(1, 100_000), 512),
  /** The time for a TLS handshake. */
  handshake: z._default(zDuration("100ms", "1m"), 5000),
  /** The time for the headers of a request. */
  headers: z._default(zDuration("100ms", "1m"), 5000),
  /** The time for the body of a request, and for the caller to take the reply. */
  body: z._default(zDuration("100ms", "1m"), 5000),
  /** How long a connection is kept without a request. Shims keep theirs warm. */
  idle: z._default(zDuration("1m", "24h"), 7_200_000),
  /** Bytes of the request bodies that are being read. */
  bodyBytes: z._default(zInteger(mebibyte, 1024 * mebibyte), 64 * mebibyte),
  /** Bytes of the request bodies of one node that are being read. */
  bodyBytesPerIdentity: z._default(zInteger(mebibyte, 1024 * mebibyte), 8 * mebibyte),
});

export type ListenSettings = z.infer<typeof listenLimits>;
export const defaultListenSettings: ListenSettings = z.parse(listenLimits, {});

/** The schema of gateway.yaml; docs/reference/settings.md is generated from it. */
export const gatewayConfig = z.strictObject({
  /** Where shims connect: mutual TLS. */
  listen: z.extend(listener, {
    /**
     * Proxies that may say whose client they speak for (x-forwarded-client-cert), by the URI SAN of
     * their own certificate.
     */
    trustedProxies: z._default(
      z.array(
        z.string().check(
          z.regex(/^spiffe:\/\/[a-z0-9._-]+\/[A-Za-z0-9._/-]+$/, {
            error: "must be the URI SAN of the proxy's certificate, spiffe://...",
          }),
        ),
      ),
      [],
    ),
    /** What callers may use up of this gateway. Durations, bytes and counts. */
    limits: z._default(listenLimits, defaultListenSettings),
  }),
  /** /livez, /readyz and /metrics: plain HTTP, for the kubelet and Prometheus. */
  admin: listener,
  tls: z.strictObject({
    /** The listener's certificate and its intermediates, PEM. Read again when the file changes. */
    cert: zPath,
    /** The private key of `cert`, PEM. */
    key: zPath,
    /** The CA certificates that clients are verified against, PEM. */
    clientCa: zPath,
  }),
  /** The trust domain of the SPIFFE ids in client certificates. */
  trustDomain: zName(trustDomain),
  registry: z.discriminatedUnion("kind", [
    z.strictObject({
      /** The registry is a YAML file. */
      kind: z.literal("file"),
      /** The file of the registry; a change is in force within a second. */
      file: zPath,
    }),
    z.strictObject({
      /** The registry is a directory with a YAML file for each cluster, `NAME.yaml`. */
      kind: z.literal("directory"),
      /** The directory of the registry; a change is in force within a second. */
      directory: zPath,
    }),
    vaultRegistrySchema,
  ]),
  /**
   * The clusters that this gateway serves, by the labels of their records: a label selector of Kubernetes.
   * Every cluster where it is absent. Requests of others are refused (`cluster_not_served`), and their keys
   * left alone.
   */
  serves: z.optional(selectorSchema),
  /** Key backends by name. A name is logical and for life: it stands in stored data. */
  backends: z.record(zName(backendName), backendSchema),
  keys: z._default(
    z.strictObject({
      /** How often a key is read from its backend. */
      refresh: z._default(zDuration("100ms", "5m"), 10_000),
      /** How often the promoted version is tried both ways. */
      canary: z._default(zDuration("100ms", "1h"), 60_000),
    }),
    { refresh: 10_000, canary: 60_000 },
  ),
  audit: z.strictObject({
    /** Whether a result is withheld when no sink takes its record. */
    required: z._default(z.boolean(), true),
    /** Where records go. A record counts as taken when one of them has it. */
    sinks: z.array(sinkSchema).check(z.minLength(1, { error: "must list at least one sink" })),
  }),
  /**
   * The key that gateways authenticate their word under, in Redis, to shims and in audit records: one
   * for the fleet, at a named version. Required with `redis`; without it a restored Vault is noticed
   * only by a gateway that was running, and who can write to an audit file can make its chain anew.
   */
  integrity: z.optional(integritySchema),
  /** Where replicas tell each other about keys, and keep what is known of nodes; without it each works for itself. */
  redis: z.optional(redisSchema),
  /** Traces to an OpenTelemetry collector; the SDK is loaded only where this stands. */
  tracing: z.optional(tracingSchema),
  metrics: z._default(
    z.strictObject({
      /**
       * How many clusters, and how many keys, have series of their own in /metrics: about ten a cluster. Those
       * beyond, in the order in which they come, are counted together as `other`.
       */
      clusters: z._default(zInteger(0, 10_000), 200),
    }),
    { clusters: 200 },
  ),
  log: z._default(
    z.strictObject({
      /** The least level that is logged. */
      level: z._default(z.enum(["debug", "info", "warn", "error"]), "info"),
    }),
    { level: "info" },
  ),
});

export type GatewayConfig = z.infer<typeof gatewayConfig>;

/** In 0.1.0 `integrity` stood under `redis`. Where both stand, the schema refuses the earlier one. */
function withIntegrityAtTop(tree: unknown, warn: (line: string) => void): unknown {
  if (!isTree(tree) || !isTree(tree["redis"]) || tree["integrity"] !== undefined) return tree;
  const { integrity, ...redis } = tree["redis"];
  if (integrity === undefined) return tree;
  warn("redis.integrity is now called integrity; the earlier name is read until the next release");
  return { ...tree, integrity, redis };
}

/**
 * Reads a gateway configuration.
 * @param warn called with one line for each setting that stands under an earlier name
 * @throws ConfigError with every problem
 */
export function loadGatewayConfig(file: string, warn: (line: string) => void = () => {}): GatewayConfig {
  const config = checkConfig(file, withIntegrityAtTop(readYamlFile(file), warn), gatewayConfig);
  const problems: string[] = [];
  if (config.redis !== undefined && config.integrity === undefined)
    problems.push("integrity: is required with redis; name a Transit key of its own that gateways may use for hmac");
  if (config.integrity !== undefined && !Object.hasOwn(config.backends, config.integrity.backend))
    problems.push(`integrity.backend: ${config.integrity.backend} is not one of the backends`);
  if (config.registry.kind === "vault" && config.backends[config.registry.backend]?.kind !== "vault")
    problems.push(`registry.backend: ${config.registry.backend} is not one of the backends of kind vault`);
  if (problems.length > 0) throw new ConfigError(file, problems);
  return config;
}
