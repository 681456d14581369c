// The fleet service's configuration: a YAML file → one frozen object, or every problem at once.
import {
  checkConfig,
  ConfigError,
  isHttpsOrigin,
  readYamlFile,
  z,
  zDuration,
  zInteger,
  zName,
  zPath,
} from "@claviger/proto/runtime/config.ts";
import { backendName, operatorName } from "@claviger/proto/wire/names.ts";
import { backendSchema } from "@claviger/gateway-core/src/backend/config.ts";
import { gatewayConfig } from "@claviger/gateway-core/src/config.ts";
import { certificateAuthoritySchema } from "@claviger/gateway-core/src/pki/node-certificates.ts";
import { approvalSettings } from "./approvals/config.ts";
import { tokensSchema } from "@claviger/gateway-core/src/pki/node-tokens.ts";
import { grantSchema } from "./grants.ts";
import { oidcProblems, oidcSchema } from "./oidc/config.ts";
import { consoleProblems, consoleSettings } from "./pages/config.ts";

// The gateways' own settings. Clients come with a certificate or, where a node enrolls, without.
const { listen, admin, tls, trustDomain, registry, audit, redis, integrity, log } = gatewayConfig.shape;

const gatewayUrl = z.string().check(z.refine(isHttpsOrigin, { error: "must be https://HOST:PORT" }));

/** What stands in fleet.yaml alone, but for its tokens; docs/reference/settings.md is generated from it. */
export const ownSettings = z.strictObject({
  certificates: z.strictObject({
    /** Who signs the certificates of nodes. */
    ca: certificateAuthoritySchema,
    /** The life of a node's certificate. Shims renew it after two thirds. */
    lifetime: z._default(zDuration("30s", "2160h"), 86_400_000),
    /** The CA certificates that nodes verify gateways and this service by, PEM: each gets them with its certificate. */
    trustBundle: zPath,
  }),
  /** Where nodes reach the gateways: each that enrolls is told. */
  gateways: z.array(gatewayUrl).check(z.minLength(1, { error: "must list at least one gateway" }), z.maxLength(32)),
  /** Who may do what, by the NAME of a certificate `spiffe://TRUST-DOMAIN/operator/NAME`. */
  operators: z.record(zName(operatorName), grantSchema),
  /** Issuers of OpenID Connect, by a name for life: their tokens name operators as well, as `oidc:ISSUER:NAME`. */
  oidc: z._default(oidcSchema, {}),
  keys: z._default(
    z.strictObject({
      /** How old the key version that encrypts for a cluster may be without a warning. No warning where it is absent. */
      maxAge: z.optional(zDuration("1h", "87600h")),
    }),
    {},
  ),
  /** Calls a second that each caller has, however long; ten times as many may come at once. */
  rates: z._default(
    z.strictObject({
      /** Of an operator, over all connections. */
      operator: z._default(zInteger(1, 10_000), 50),
      /** Of a node: it renews its certificate, and asks for nothing else. */
      node: z._default(zInteger(1, 10_000), 2),
      /** Of an address, for calls without certificate and token: nodes that enroll from behind one address share it. */
      address: z._default(zInteger(1, 10_000), 20),
    }),
    { operator: 50, node: 2, address: 20 },
  ),
});

/** The schema of fleet.yaml. */
export const fleetConfig = z.extend(ownSettings, {
  listen: z.pick(listen, { address: true, port: true }),
  admin,
  tls,
  trustDomain,
  registry,
  /** Vaults, by the names of the backends: of the registry, of the authority, of tokens, and of the clusters' keys. */
  backends: z._default(z.record(zName(backendName), backendSchema), {}),
  tokens: tokensSchema,
  approvals: approvalSettings.shape.approvals,
  console: consoleSettings.shape.console,
  /** As the gateways have it: what they know of nodes is read there. */
  redis,
  /** As the gateways have it, with a backend of the same Vault: required with `redis`. */
  integrity,
  audit,
  log,
});

export type FleetConfig = z.infer<typeof fleetConfig>;
export type Operators = FleetConfig["operators"];
export type CallRates = FleetConfig["rates"];

function redisProblems({ redis, integrity, backends }: FleetConfig): readonly string[] {
  return [
    ...(redis !== undefined && integrity === undefined
      ? ["integrity: is required with redis; name the key that the gateways name"]
      : []),
    ...(integrity !== undefined && !Object.hasOwn(backends, integrity.backend)
      ? [`integrity.backend: ${integrity.backend} is not one of the backends`]
      : []),
  ];
}

/**
 * Reads a configuration of the fleet service.
 * @throws ConfigError with every problem
 */
export function loadFleetConfig(file: string): FleetConfig {
  const config = checkConfig(file, readYamlFile(file), fleetConfig);
  const { certificates, tokens } = config;
  const asked = {
    registry: config.registry,
    "certificates.ca": certificates.ca,
    tokens,
    ...(config.approvals && { "approvals.store": config.approvals.store }),
  };
  const problems = Object.entries(asked).flatMap(([name, one]) =>
    one.kind === "vault" && config.backends[one.backend]?.kind !== "vault"
      ? [`${name}.backend: ${one.backend} is not one of the backends of kind vault`]
      : [],
  );
  problems.push(
    ...oidcProblems(config.oidc),
    ...consoleProblems(config.console, Object.keys(config.oidc)),
    ...redisProblems(config),
  );
  if (problems.length > 0) throw new ConfigError(file, problems);
  return config;
}
