// What `vault init --for fleet` reads of fleet.yaml; the service itself checks the rest.
import { backendSchema } from "@claviger/gateway-core/src/backend/config.ts";
import { gatewayConfig } from "@claviger/gateway-core/src/config.ts";
import { certificateAuthoritySchema } from "@claviger/gateway-core/src/pki/node-certificates.ts";
import { tokensSchema } from "@claviger/gateway-core/src/pki/node-tokens.ts";
import { checkConfig, parseYaml, z, zDuration, zName } from "@claviger/proto/runtime/config.ts";
import { backendName, mountPath } from "@claviger/proto/wire/names.ts";
import { CliError, type Terminal } from "../commander.ts";
import { readTextFile } from "../outside.ts";
import type { FleetOptions, Target } from "../target.ts";

const { trustDomain, registry, integrity } = gatewayConfig.shape;

/** Where changes wait for a second administrator, as the service has it. */
const approvalStore = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("directory") }),
  z.object({
    kind: z.literal("vault"),
    backend: zName(backendName),
    namespace: z.optional(zName(mountPath)),
    mount: zName(mountPath),
    path: z._default(zName(mountPath), mountPath.parse("approvals")),
  }),
]);

// Other fields are ignored.
const fleetFile = z.object({
  trustDomain,
  registry,
  backends: z._default(z.record(zName(backendName), backendSchema), {}),
  certificates: z.object({
    ca: certificateAuthoritySchema,
    /** Absent: a day, as in the service. */
    lifetime: z.optional(zDuration("30s", "2160h")),
  }),
  tokens: tokensSchema,
  approvals: z.optional(z.object({ store: approvalStore })),
  integrity,
});

export type FleetSettings = z.infer<typeof fleetFile>;

/** The service's configuration, and the fleet that it is for. @throws CliError or ConfigError */
export function readFleetSettings(
  { config, context, lab, registry: other }: FleetOptions,
  { env }: Pick<Terminal, "env">,
): { readonly settings: FleetSettings; readonly target: Target } {
  if (context !== undefined || lab !== undefined || other !== undefined)
    throw new CliError("--for fleet takes --config FILE alone: the fleet service's configuration");
  const given = config ?? env["CLAVIGER_CONFIG"] ?? "";
  if (given === "") throw new CliError("--for fleet needs --config FILE: the fleet service's configuration");
  const settings = checkConfig(given, parseYaml(given, readTextFile(given)), fleetFile);
  const { backends } = settings;
  return {
    settings,
    target: {
      settings: { backends, registry: settings.registry, redis: undefined, integrity: undefined, serves: undefined },
      registry: settings.registry,
      name: given,
      caSetting: (backend) => `backends.${backend}.tls.ca in ${given}`,
      gateways: [],
      etcd: undefined,
      isOwn: false,
      isOneVault: false,
    },
  };
}
