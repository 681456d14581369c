// A stand-in of the Vault provider, which cannot be had where these tests run: the module's resources become terraform_data of
// OpenTofu's own, so that the real OpenTofu plans and applies every expression of it, and what it then holds is written to
// Vault here. NOT shown: that the real provider takes the same names of attributes.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const module = join(import.meta.dirname, "..", "..", "..", "infra", "tofu");

type Attributes = { readonly [name: string]: unknown };
/** A resource as OpenTofu holds it: its type and attributes. */
export type Resource = { readonly type: string; readonly attributes: Attributes };

/** Attributes that are the language's own, not a provider's. */
const meta = /^ {2}(?:for_each|count) /;

function standIn(block: string, type: string, name: string): string {
  const lines = block
    .replace(/\n {2}lifecycle \{[^]*?\n {2}\}\n/, "\n")
    .split("\n")
    .slice(1, -1);
  const kept = lines.filter((line) => meta.test(line));
  const input = lines.filter((line) => !meta.test(line) && !/^\s*(?:#|$)/.test(line));
  return [`resource "terraform_data" "${type}__${name}" {`, ...kept, "  input = {", ...input, "  }", "}"].join("\n");
}

/** Copies the module to a directory, its resources as terraform_data. */
export function writeStandIn(dir: string): void {
  mkdirSync(dir);
  const files = readdirSync(module).filter((file) => file.endsWith(".tf") && file !== "versions.tf");
  for (const file of files) {
    const text = readFileSync(join(module, file), "utf8")
      .replaceAll(/^resource "(vault_\w+)" "(\w+)" \{\n[^]*?^\}$/gm, (block: string, type: string, name: string) =>
        standIn(block, type, name),
      )
      .replaceAll(/\b(vault_\w+)\.(\w+)((?:\[[^\]]*\])?)\.path\b/g, "terraform_data.$1__$2$3.output.path");
    writeFileSync(join(dir, file), text);
  }
}

/** The resources in what `tofu show -json` prints. */
export function resourcesOf(shown: string): readonly Resource[] {
  const { values } = JSON.parse(shown) as {
    values: { root_module: { resources: { name: string; values: { output: Attributes } }[] } };
  };
  return values.root_module.resources.map(({ name, values: { output } }) => ({
    type: name.split("__")[0] ?? "",
    attributes: Object.fromEntries(Object.entries(output).filter(([, value]) => value !== null)),
  }));
}

/** What the provider would call of Vault's API for a resource; `first`: others need it. */
export function requestOf({ type, attributes }: Resource): {
  readonly first: boolean;
  readonly path: string;
  readonly body: Attributes;
} {
  const { path, name, role_name: role, backend, type: kind, ...rest } = attributes;
  const text = (value: unknown): string => (typeof value === "string" ? value : "");
  const at = (first: boolean, where: string, body: Attributes) => ({ first, path: where, body });
  switch (type) {
    case "vault_mount": {
      const config = { max_lease_ttl: `${Number(rest["max_lease_ttl_seconds"] ?? 0)}s` };
      const isKv = kind === "kv-v2";
      return at(true, `sys/mounts/${text(path)}`, {
        type: isKv ? "kv" : kind,
        config,
        ...(isKv && { options: { version: "2" } }),
      });
    }
    case "vault_auth_backend":
      return at(true, `sys/auth/${text(path)}`, { type: kind });
    case "vault_policy":
      return at(false, `sys/policies/acl/${text(name)}`, rest);
    case "vault_transit_secret_backend_key": {
      const period = `${Number(rest["auto_rotate_period"] ?? 0)}s`;
      return at(false, `${text(backend)}/keys/${text(name)}`, { type: kind, ...rest, auto_rotate_period: period });
    }
    case "vault_pki_secret_backend_role":
      return at(false, `${text(backend)}/roles/${text(name)}`, rest);
    case "vault_cert_auth_backend_role":
      return at(false, `auth/${text(backend)}/certs/${text(name)}`, rest);
    default:
      return at(false, `auth/${text(backend)}/role/${text(role)}`, rest);
  }
}
