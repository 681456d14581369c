// Writes what of this module `claviger vault init` says as well: policies.tf and roles.tf, from the same functions, called with
// placeholders in place of names. `--check` writes nothing and fails where a file is not what these say.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { WantedKey } from "../../gateway/cli/src/vault/desired-state.ts";
import { pkiMaxLease, pkiRoleBody } from "../../gateway/cli/src/vault/fleet-pki.ts";
import { fleetPolicyText } from "../../gateway/cli/src/vault/fleet-policy.ts";
import type { WantedFleet } from "../../gateway/cli/src/vault/fleet-state.ts";
import { policyText } from "../../gateway/cli/src/vault/policy.ts";
import { type RoleMethod, wantedRole } from "../../gateway/cli/src/vault/roles.ts";

const head = "# Written by infra/tofu/generate.ts from what `claviger vault init` makes.\n";

/** What stands in a text for an expression of the module. */
const expressions: Readonly<Record<string, string>> = {
  "@mount@": "key.mount",
  "@key@": "key.name",
  "@clusters@": 'join(", ", key.clusters)',
  "@registry-mount@": "var.registry.mount",
  "@registry-path@": "var.registry.path",
  "@tokens-mount@": "var.fleet.tokens.mount",
  "@tokens-path@": "var.fleet.tokens.path",
  "@approvals-mount@": "var.fleet.approvals.mount",
  "@approvals-path@": "var.fleet.approvals.path",
  "@pki-mount@": "var.fleet.pki.mount",
  "@pki-role@": "var.fleet.pki.role",
  "@trust-domain@": "var.fleet.trust_domain",
};

function quote(text: string): string {
  return Object.entries(expressions).reduce(
    (quoted, [placeholder, expression]) => quoted.replaceAll(placeholder, `\${${expression}}`),
    JSON.stringify(text),
  );
}

/** A list of the lines of a text, without the newline that ends it. */
function list(text: string, indent: string): string {
  const lines = text.replace(/\n$/, "").split("\n");
  return `[\n${lines.map((line) => `${indent}  ${quote(line)},\n`).join("")}${indent}]`;
}

const registry = { prefix: "", mount: "@registry-mount@", path: "@registry-path@" };

function key(use: WantedKey["use"], encrypts: boolean, auto: boolean): WantedKey {
  return { prefix: "", mount: "@mount@", name: "@key@", use, encrypts, auto, clusters: ["@clusters@"] };
}

/** What a policy has more for something, as the lines after those that it has in any case. */
function added(base: string, more: string): string {
  const start = base.replace(/\n$/, "");
  if (!more.startsWith(start)) throw new Error("a policy does not begin with what every policy has");
  return more.slice(start.length + 1);
}

function gatewayPolicy(): string {
  const none = policyText([]);
  const of = (...keys: readonly WantedKey[]): string => list(added(none, policyText(keys)), "        ");
  return `  gateway_policy = join("\\n", concat(
    ${list(none, "    ")},
    flatten([
      for key in local.keys : {
        integrity = ${of(key("integrity", false, false))}
        auto = ${of(key("data", true, true))}
        manual = ${of(key("data", true, false))}
        previous = ${of(key("data", false, false))}
      }[key.use == "integrity" ? "integrity" : key.auto ? "auto" : key.encrypts ? "manual" : "previous"]
    ]),
    var.registry == null ? tolist([]) : tolist(${list(added(none, policyText([], registry)), "    ")}),
    [""],
  ))`;
}

function fleetPolicy(): string {
  const nothing: WantedFleet = {
    registry: undefined,
    tokens: undefined,
    approvals: undefined,
    pki: undefined,
    keys: [],
  };
  const none = fleetPolicyText(nothing);
  const of = (
    more: Partial<WantedFleet>,
    { retires = false, indent = "    " }: { readonly retires?: boolean; readonly indent?: string } = {},
  ): string => list(added(none, fleetPolicyText({ ...nothing, ...more }, { retires })), indent);
  const store = (name: string): WantedFleet["tokens"] => ({
    prefix: "",
    mount: `@${name}-mount@`,
    path: `@${name}-path@`,
  });
  const pki = {
    prefix: "",
    mount: "@pki-mount@",
    role: "@pki-role@",
    trustDomain: "@trust-domain@",
    lifetime: 0,
  };
  const rotated = [key("data", true, true)];
  const integrity = [key("integrity", false, false)];
  return `  fleet_policy = var.fleet == null ? null : join("\\n", concat(
    ${list(none, "    ")},
    var.registry == null ? tolist([]) : tolist(${of({ registry })}),
    var.fleet.tokens == null ? tolist([]) : tolist(${of({ tokens: store("tokens") })}),
    var.fleet.approvals == null ? tolist([]) : tolist(${of({ approvals: store("approvals") })}),
    var.fleet.pki == null ? tolist([]) : tolist(${of({ pki })}),
    flatten([
      for key in local.keys : {
        retires = ${of({ keys: rotated }, { retires: true, indent: "        " })}
        keeps = ${of({ keys: rotated }, { indent: "        " })}
      }[var.fleet.retire ? "retires" : "keeps"] if key.encrypts
    ]),
    flatten([
      for key in local.keys : ${of({ keys: integrity }, { indent: "      " })} if key.use == "integrity"
    ]),
    [""],
  ))`;
}

/** Values of a role that an expression stands for. */
const roleValues: readonly (readonly [value: unknown, expression: string])[] = [
  [["@policy@"], "[each.value.policy]"],
  [1001, "var.token_ttl"],
  [1002, "var.token_max_ttl"],
  [1003, "var.secret_id_ttl"],
  [["@cidr@"], "var.secret_id_cidrs"],
  [["@service-account@"], "[each.value.service_account]"],
  [["@namespace@"], "[each.value.namespace]"],
  ["@audience@", "var.audience"],
  [["@audience@"], "[var.audience]"],
  ["@subject@", "each.value.bound_subject"],
  ["@ca@", "var.client_ca"],
  [["@dns@"], "each.value.allowed_dns_sans"],
  [["@uri@"], "each.value.allowed_uri_sans"],
];

function expressionOf(value: unknown): string {
  const text = JSON.stringify(value);
  const known = roleValues.find(([one]) => JSON.stringify(one) === text);
  if (known !== undefined) return known[1];
  return Array.isArray(value) ? `[${value.map((one) => quote(String(one))).join(", ")}]` : text;
}

function attributes(fields: readonly (readonly [string, string])[]): string {
  const width = Math.max(...fields.map(([name]) => name.length));
  return fields.map(([name, expression]) => `  ${name.padEnd(width)} = ${expression}\n`).join("");
}

const resources: Readonly<Record<RoleMethod, { readonly type: string; readonly name: string }>> = {
  approle: { type: "vault_approle_auth_backend_role", name: "role_name" },
  kubernetes: { type: "vault_kubernetes_auth_backend_role", name: "role_name" },
  jwt: { type: "vault_jwt_auth_backend_role", name: "role_name" },
  cert: { type: "vault_cert_auth_backend_role", name: "name" },
};

function roleResource(method: RoleMethod): string {
  const wanted = wantedRole(method, "@auth@", {
    policy: "@policy@",
    role: "@role@",
    tokenTtl: 1001,
    tokenMaxTtl: 1002,
    secretIdTtl: 1003,
    secretIdCidrs: ["@cidr@"],
    serviceAccount: "@service-account@",
    serviceAccountNamespace: "@namespace@",
    audience: "@audience@",
    boundSubject: "@subject@",
    clientCa: "@ca@",
    allowedDnsSans: ["@dns@"],
    allowedUriSans: ["@uri@"],
  }).find(({ configuredBy }) => configuredBy === undefined);
  if (wanted === undefined) throw new Error(`${method} has no role`);
  const { type, name } = resources[method];
  return `resource "${type}" "role" {
${attributes([
  ["for_each", `{ for name, role in local.roles : name => role if var.auth.kind == "${method}" }`],
  ["backend", "vault_auth_backend.login.path"],
  [name, "each.value.role"],
  ...Object.entries(wanted.body).map(([field, value]) => [field, expressionOf(value)] as const),
])}}
`;
}

function pkiResources(): string {
  const body = pkiRoleBody({ prefix: "", mount: "", role: "", trustDomain: "@trust-domain@", lifetime: 0 });
  const { max_ttl: shortest, ...rest } = body;
  const given = "count = try(var.fleet.pki, null) == null ? 0 : 1";
  return `# Where nodes' certificates are signed. The CA itself is the site's: a root, or one below its own.
resource "vault_mount" "pki" {
  ${given.replace("=", "                =")}
  path                  = var.fleet.pki.mount
  type                  = "pki"
  max_lease_ttl_seconds = ${pkiMaxLease}
}

resource "vault_pki_secret_backend_role" "node" {
${attributes([
  ["count", "try(var.fleet.pki, null) == null ? 0 : 1"],
  ["backend", "vault_mount.pki[0].path"],
  ["name", "var.fleet.pki.role"],
  ...Object.entries(rest).map(([field, value]) => [field, expressionOf(value)] as const),
  ["max_ttl", `max(${String(shortest)}, var.fleet.pki.lifetime)`],
])}}
`;
}

const files: Readonly<Record<string, string>> = {
  "policies.tf": `${head}locals {\n${gatewayPolicy()}\n\n${fleetPolicy()}\n}\n`,
  "roles.tf": [
    head.trimEnd(),
    ...(["approle", "kubernetes", "jwt", "cert"] as const).map(roleResource),
    pkiResources(),
  ].join("\n"),
};
for (const [name, text] of Object.entries(files)) {
  const file = join(import.meta.dirname, name);
  if (process.argv[2] !== "--check") writeFileSync(file, text);
  else if (readFileSync(file, "utf8") !== text) {
    process.stderr.write(`${file}: is not what vault init makes; run 'node infra/tofu/generate.ts'\n`);
    process.exitCode = 1;
  }
}
