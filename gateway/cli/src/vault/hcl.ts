// The same set-up as Terraform or OpenTofu resources, for teams that apply it themselves.
import type { RoleMethod, Wanted } from "./roles.ts";
import { pkiMaxLease, pkiRoleBody } from "./fleet-pki.ts";
import { pkiAt, type WantedFleet, type WantedPki, type WantedStore } from "./fleet-state.ts";
import { registryMount, type WantedKey, type WantedRegistry } from "./desired-state.ts";

function id(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9_]/g, "_");
}

/** HCL's quoted strings take JSON's escapes, but for templates. */
function quote(text: string): string {
  return JSON.stringify(text).replaceAll("${", "$${").replaceAll("%{", "%%{");
}

function value(of: unknown): string {
  if (Array.isArray(of)) return `[${of.map(value).join(", ")}]`;
  return typeof of === "string" ? quote(of) : JSON.stringify(of);
}

function resource(
  type: string,
  name: string,
  fields: Readonly<Record<string, unknown>>,
  raw: readonly string[] = [],
): string {
  return [
    `resource "${type}" "${id(name)}" {`,
    ...Object.entries(fields).map(([field, of]) => `  ${field} = ${value(of)}`),
    ...raw.map((line) => (line === "" ? "" : `  ${line}`)),
    "}",
    "",
  ].join("\n");
}

const roleResources: Readonly<Record<RoleMethod, { readonly type: string; readonly name: string }>> = {
  approle: { type: "vault_approle_auth_backend_role", name: "role_name" },
  kubernetes: { type: "vault_kubernetes_auth_backend_role", name: "role_name" },
  jwt: { type: "vault_jwt_auth_backend_role", name: "role_name" },
  cert: { type: "vault_cert_auth_backend_role", name: "name" },
};

/** The login method's own configuration differs from site to site, so it is left to the site. */
function roleHcl({
  method,
  mount,
  wanted,
}: {
  readonly method: RoleMethod;
  readonly mount: string;
  readonly wanted: readonly Wanted[];
}): readonly string[] {
  return [
    resource("vault_auth_backend", mount, { type: method, path: mount }),
    ...wanted
      .filter(({ configuredBy }) => configuredBy === undefined)
      .map(({ path, body }) => {
        const name = path.split("/").at(-1) ?? "";
        return resource(roleResources[method].type, name, { [roleResources[method].name]: name, ...body }, [
          `backend = vault_auth_backend.${id(mount)}.path`,
        ]);
      }),
  ];
}

type Policy = { readonly name: string; readonly text: string };
type Login = { readonly method: RoleMethod; readonly mount: string; readonly wanted: readonly Wanted[] };

const head = "# Written by 'claviger vault init --print-hcl'. For the Vault provider of Terraform or OpenTofu.";

function namespaceOf(prefix: string): Readonly<Record<string, unknown>> {
  return prefix === "" ? {} : { namespace: prefix.slice(0, -1) };
}

function kvHcl({ prefix, mount }: Pick<WantedStore, "prefix" | "mount">): string {
  return resource("vault_mount", `${prefix}${mount}`, { path: mount, type: "kv-v2", ...namespaceOf(prefix) });
}

function policyHcl({ name, text }: Policy): string {
  const lines = text
    .trimEnd()
    .split("\n")
    .map((line) => (line === "" ? "" : `  ${line}`));
  return resource("vault_policy", name, { name }, [`policy = <<-EOT`, ...lines, "EOT"]);
}

/** The CA itself is the site's: a root, or one below its own. */
function pkiHcl(pki: WantedPki): readonly string[] {
  const at = pkiAt(pki);
  return [
    resource("vault_mount", at, {
      path: pki.mount,
      type: "pki",
      max_lease_ttl_seconds: pkiMaxLease,
      ...namespaceOf(pki.prefix),
    }),
    resource(
      "vault_pki_secret_backend_role",
      `${at}_${pki.role}`,
      { name: pki.role, ...pkiRoleBody(pki), ...namespaceOf(pki.prefix) },
      [`backend = vault_mount.${id(at)}.path`],
    ),
  ];
}

/** What the fleet service needs beside what gateways do, as text for one file: no keys, and not the registry's mount. */
export function fleetTerraformText({
  wanted: { registry, tokens, approvals, pki },
  policy,
  role,
}: {
  readonly wanted: WantedFleet;
  readonly policy: Policy;
  readonly role?: Login | undefined;
}): string {
  const ofGateways = registry === undefined ? undefined : registryMount(registry);
  const stores = new Map(
    [tokens, approvals].flatMap((one) => (one === undefined ? [] : [[`${one.prefix}${one.mount}`, one] as const])),
  );
  return [
    head,
    "",
    ...[...stores].flatMap(([at, store]) => (at === ofGateways ? [] : [kvHcl(store)])),
    ...(pki === undefined ? [] : pkiHcl(pki)),
    policyHcl(policy),
    ...(role === undefined ? [] : roleHcl(role)),
  ].join("\n");
}

/** All of it, as text for one file. */
export function terraformText({
  keys,
  registry,
  policy,
  role,
  autoRotateSeconds = 0,
}: {
  readonly keys: readonly WantedKey[];
  readonly registry?: WantedRegistry;
  readonly policy: Policy;
  readonly role?: Login;
  readonly autoRotateSeconds?: number;
}): string {
  const mounts = new Map(keys.map((key) => [key.prefix + key.mount, key]));
  return [
    head,
    "",
    ...[...mounts].map(([at, key]) =>
      resource("vault_mount", at, { path: key.mount, type: "transit", ...namespaceOf(key.prefix) }),
    ),
    ...keys.map((key) =>
      resource(
        "vault_transit_secret_backend_key",
        `${key.prefix}${key.mount}_${key.name}`,
        {
          name: key.name,
          type: "aes256-gcm96",
          exportable: false,
          allow_plaintext_backup: false,
          auto_rotate_period: autoRotateSeconds,
          ...namespaceOf(key.prefix),
        },
        [
          `backend = vault_mount.${id(key.prefix + key.mount)}.path`,
          // The gateway (or the operator) promotes, and operators retire: an apply must not revert
          // either, and the provider writes its default where a resource says nothing.
          "lifecycle { ignore_changes = [min_encryption_version, min_decryption_version] }",
        ],
      ),
    ),
    ...(registry === undefined ? [] : [kvHcl(registry)]),
    policyHcl(policy),
    ...(role === undefined ? [] : roleHcl(role)),
  ].join("\n");
}
