// The options of `vault init`, and the login role that they and the gateway's configuration ask for.
import type { AuthConfig } from "@claviger/gateway-core/src/backend/config.ts";
import { readTextFile } from "../outside.ts";
import type { FleetOptions } from "../target.ts";
import type { PkiOptions } from "./fleet-pki.ts";
import { type RoleMethod, type RoleOptions, wantedRole, type Wanted } from "./roles.ts";

/** Options that a role has in the same words. */
type SameOptions = Omit<
  RoleOptions,
  | "policy"
  | "role"
  | "serviceAccount"
  | "serviceAccountNamespace"
  | "kubernetesCa"
  | "clientCa"
  | "secretIdCidrs"
  | "allowedDnsSans"
  | "allowedUriSans"
>;

export type InitOptions = FleetOptions &
  SameOptions &
  PkiOptions & {
    /** Whose Vault it is to be. */
    readonly for: "gateway" | "fleet";
    readonly policy?: string;
    readonly serviceAccount?: string;
    readonly serviceAccountNamespace?: string;
    readonly keyPrefix?: string;
    readonly backend?: string;
    readonly role?: string;
    readonly autoRotate?: number;
    /** Files. */
    readonly kubernetesCa?: string;
    readonly clientCa?: string;
    readonly allowedDnsSan?: readonly string[];
    readonly allowedUriSan?: readonly string[];
    readonly secretIdCidr?: readonly string[];
    readonly printOperatorPolicies: boolean;
    readonly withRetire: boolean;
    readonly yes: boolean;
    readonly update: boolean;
    readonly dryRun: boolean;
    readonly printPolicy: boolean;
    readonly printHcl: boolean;
    readonly json: boolean;
  };

/** A role of a login method, and what must stand there. */
export type Role = {
  readonly method: RoleMethod;
  readonly mount: string;
  readonly wanted: readonly Wanted[];
  readonly options: RoleOptions;
};

/** The role of the login that a program is configured with; none where it is given a token. */
export function roleFor(
  auth: AuthConfig,
  options: InitOptions & Pick<RoleOptions, "policy" | "role" | "serviceAccount" | "serviceAccountNamespace">,
): Role | undefined {
  if (auth.kind === "token" || auth.kind === "token-file" || auth.kind === "userpass") return undefined;
  const role = auth.kind === "approle" ? options.role : auth.role;
  const roleOptions: RoleOptions = {
    policy: options.policy,
    role,
    tokenTtl: options.tokenTtl,
    tokenMaxTtl: options.tokenMaxTtl,
    serviceAccount: options.serviceAccount,
    serviceAccountNamespace: options.serviceAccountNamespace,
    ...(options.audience === undefined ? {} : { audience: options.audience }),
    ...(options.kubernetesHost === undefined ? {} : { kubernetesHost: options.kubernetesHost }),
    ...(options.jwksUrl === undefined ? {} : { jwksUrl: options.jwksUrl }),
    ...(options.boundSubject === undefined ? {} : { boundSubject: options.boundSubject }),
    ...(options.secretIdCidr === undefined ? {} : { secretIdCidrs: options.secretIdCidr }),
    ...(options.secretIdTtl === undefined ? {} : { secretIdTtl: options.secretIdTtl }),
    ...(options.allowedDnsSan === undefined ? {} : { allowedDnsSans: options.allowedDnsSan }),
    ...(options.allowedUriSan === undefined ? {} : { allowedUriSans: options.allowedUriSan }),
    ...(options.kubernetesCa === undefined ? {} : { kubernetesCa: readTextFile(options.kubernetesCa) }),
    ...(options.clientCa === undefined ? {} : { clientCa: readTextFile(options.clientCa) }),
  };
  return {
    method: auth.kind,
    mount: auth.mount,
    wanted: wantedRole(auth.kind, auth.mount, roleOptions),
    options: roleOptions,
  };
}
