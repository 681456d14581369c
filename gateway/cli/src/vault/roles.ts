// The auth role under which the gateway logs in: what it must say, for each login method that its
// configuration can name.
import type { VaultData } from "./control.ts";

export type RoleOptions = {
  readonly policy: string;
  readonly role: string;
  /** Seconds. */
  readonly tokenTtl: number;
  readonly tokenMaxTtl: number;
  readonly serviceAccount: string;
  readonly serviceAccountNamespace: string;
  readonly audience?: string;
  readonly kubernetesHost?: string;
  /** PEM texts. */
  readonly kubernetesCa?: string;
  readonly clientCa?: string;
  readonly jwksUrl?: string;
  readonly boundSubject?: string;
  /** Where an AppRole's secret-id and its tokens may come from, as CIDR. */
  readonly secretIdCidrs?: readonly string[];
  /** How long a secret-id lives, seconds. */
  readonly secretIdTtl?: number;
  /** Names of which the gateways' client certificates carry one: DNS names, and URIs. */
  readonly allowedDnsSans?: readonly string[];
  readonly allowedUriSans?: readonly string[];
};

export type RoleMethod = "approle" | "kubernetes" | "jwt" | "cert";

/** One thing to write: where, what, and which option would supply what is missing. */
export type Wanted = {
  readonly path: string;
  readonly body: VaultData;
  /** Options that must be given before this can be made, when it is not there yet. */
  readonly needs: readonly string[];
  /**
   * A login method's own configuration: only ever made, never changed. It is there as soon as one
   * of these fields says something.
   */
  readonly configuredBy?: readonly string[];
};

function tokenFields({ policy, tokenTtl, tokenMaxTtl }: RoleOptions): VaultData {
  return {
    token_policies: [policy],
    // The policy itself grants what the gateway needs of `default`.
    token_no_default_policy: true,
    token_ttl: tokenTtl,
    token_max_ttl: tokenMaxTtl,
    // A gateway makes requests without end.
    token_num_uses: 0,
  };
}

function present(fields: Readonly<Record<string, unknown>>): VaultData {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function missing(options: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.entries(options)
    .filter(([, value]) => value === undefined)
    .map(([name]) => name);
}

/** What must stand below `auth/MOUNT`. */
export function wantedRole(method: RoleMethod, mount: string, options: RoleOptions): readonly Wanted[] {
  const base = `auth/${mount}`;
  const token = tokenFields(options);
  switch (method) {
    case "approle":
      return [
        {
          path: `${base}/role/${options.role}`,
          body: {
            ...token,
            bind_secret_id: true,
            secret_id_num_uses: 0,
            // One that ends takes the gateway's next login with it: only where it was asked for.
            secret_id_ttl: options.secretIdTtl ?? 0,
            ...present({ secret_id_bound_cidrs: options.secretIdCidrs, token_bound_cidrs: options.secretIdCidrs }),
          },
          needs: [],
        },
      ];
    case "kubernetes":
      return [
        {
          path: `${base}/config`,
          body: present({
            kubernetes_host: options.kubernetesHost,
            kubernetes_ca_cert: options.kubernetesCa,
            // Vault reviews a login with the very token that logs in: no credential of that cluster
            // stays in Vault.
            disable_local_ca_jwt: true,
          }),
          needs: missing({ "--kubernetes-host": options.kubernetesHost, "--kubernetes-ca": options.kubernetesCa }),
          configuredBy: ["kubernetes_host"],
        },
        {
          path: `${base}/role/${options.role}`,
          body: {
            ...token,
            bound_service_account_names: [options.serviceAccount],
            bound_service_account_namespaces: [options.serviceAccountNamespace],
            ...present({ audience: options.audience }),
          },
          needs: [],
        },
      ];
    case "jwt":
      return [
        {
          path: `${base}/config`,
          body: present({ jwks_url: options.jwksUrl }),
          needs: missing({ "--jwks-url": options.jwksUrl }),
          configuredBy: ["jwks_url", "oidc_discovery_url", "jwt_validation_pubkeys"],
        },
        {
          path: `${base}/role/${options.role}`,
          body: {
            ...token,
            role_type: "jwt",
            user_claim: "sub",
            ...present({
              bound_subject: options.boundSubject,
              bound_audiences: options.audience === undefined ? undefined : [options.audience],
            }),
          },
          // Without a bound subject every token of that issuer would be the gateway.
          needs: missing({ "--bound-subject": options.boundSubject, "--audience": options.audience }),
        },
      ];
    case "cert":
      return [
        {
          path: `${base}/certs/${options.role}`,
          body: {
            ...token,
            ...present({
              certificate: options.clientCa,
              allowed_dns_sans: options.allowedDnsSans,
              allowed_uri_sans: options.allowedUriSans,
            }),
          },
          // Without a name every certificate of that CA would be the gateway, those of nodes included.
          needs: missing({
            "--client-ca": options.clientCa,
            "--allowed-dns-san or --allowed-uri-san": options.allowedDnsSans ?? options.allowedUriSans,
          }),
        },
      ];
  }
}

/**
 * What to apply to the Kubernetes cluster that runs the gateway: its ServiceAccount, and leave to
 * have tokens reviewed.
 */
export function kubernetesManifest({ serviceAccount, serviceAccountNamespace }: RoleOptions): string {
  return `apiVersion: v1
kind: ServiceAccount
metadata:
  name: ${serviceAccount}
  namespace: ${serviceAccountNamespace}
---
# Vault asks this cluster to review the gateway's token, with that token.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: ${serviceAccount}-token-review
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:auth-delegator
subjects:
  - kind: ServiceAccount
    name: ${serviceAccount}
    namespace: ${serviceAccountNamespace}
`;
}
