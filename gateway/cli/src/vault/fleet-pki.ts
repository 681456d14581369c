// Vault's PKI for nodes: the mount, a CA where that is asked for, and the role.
import { existsSync, writeFileSync } from "node:fs";
import { recordIn, type VaultControl, type VaultData, VaultRefusal } from "./control.ts";
import { pkiAt, type WantedPki } from "./fleet-state.ts";
import { alike, engine, type PlanStep } from "./plan.ts";

const hour = 3600;
/** Of the CA that this command makes, and of its mount: ten years, in seconds. */
export const pkiMaxLease = 10 * 365 * 24 * hour;
const caTtl = `${pkiMaxLease / hour}h`;
const shortestMaxTtl = 72 * hour;

export type PkiOptions = {
  /** Make a root in Vault. */
  readonly pkiRoot?: boolean;
  /** Make a key in Vault, and write a request for a certificate of another CA to this file. */
  readonly pkiCsr?: string;
};

async function caOf(vault: VaultControl, at: string): Promise<string | undefined> {
  try {
    const data = await vault.read(`${at}/cert/ca`);
    return typeof data?.["certificate"] === "string" && data["certificate"] !== "" ? data["certificate"] : undefined;
  } catch (error) {
    // Vault calls a mount without a CA a wrong request.
    if (error instanceof VaultRefusal && error.status !== 403) return undefined;
    throw error;
  }
}

async function caStep(
  vault: VaultControl,
  { pki, isNew }: { readonly pki: WantedPki; readonly isNew: boolean },
  { pkiRoot = false, pkiCsr }: PkiOptions,
): Promise<PlanStep> {
  const at = pkiAt(pki);
  const what = `CA of ${at}`;
  if (!isNew && (await caOf(vault, at)) !== undefined) return { what, status: "present" };
  const key = { key_type: "ec", key_bits: 256, common_name: `Claviger nodes of ${pki.trustDomain}`.slice(0, 64) };
  if (pkiRoot)
    return {
      what: `${what} (a root whose key stays in Vault)`,
      status: "create",
      apply: () => vault.write(`${at}/root/generate/internal`, { ...key, ttl: caTtl }),
    };
  if (pkiCsr === undefined)
    return {
      what,
      status: "conflict",
      detail: `there is none: --pki-root makes a root whose key stays in Vault, --pki-csr FILE a request for your own CA, or bring one: vault write ${at}/config/ca pem_bundle=@FILE`,
    };
  if (existsSync(pkiCsr))
    return {
      what,
      status: "present",
      detail: `requested in ${pkiCsr}; bring what your CA makes of it: vault write ${at}/intermediate/set-signed certificate=@FILE`,
    };
  return {
    what: `request for the ${what} (its key stays in Vault), to ${pkiCsr}`,
    status: "create",
    apply: async () => {
      const reply = await vault.write(`${at}/intermediate/generate/internal`, key);
      writeFileSync(pkiCsr, `${String(recordIn(reply, "data")["csr"]).trim()}\n`, { flag: "wx" });
    },
  };
}

/** Signs nothing but client certificates with URI names below `cluster/`, and no name of the request's own. */
export function pkiRoleBody({ trustDomain, lifetime }: WantedPki): VaultData {
  return {
    // Names of no host: what a node is, stands in its URI.
    allow_any_name: true,
    enforce_hostnames: false,
    allow_ip_sans: false,
    allow_localhost: false,
    allowed_uri_sans: [`spiffe://${trustDomain}/cluster/*`],
    use_csr_common_name: false,
    use_csr_sans: false,
    server_flag: false,
    client_flag: true,
    key_type: "ec",
    key_bits: 256,
    max_ttl: Math.max(shortestMaxTtl, lifetime),
  };
}

/** A longer life than is needed is the site's own choice. */
function differs(field: string, wanted: unknown, found: unknown, { lifetime }: WantedPki): boolean {
  return field === "max_ttl" ? Number(found) !== 0 && Number(found) < lifetime : !alike(wanted, found);
}

async function roleStep(vault: VaultControl, pki: WantedPki, isNew: boolean, update: boolean): Promise<PlanStep> {
  const path = `${pkiAt(pki)}/roles/${pki.role}`;
  const what = `role ${path}`;
  const body = pkiRoleBody(pki);
  const apply = (): Promise<unknown> => vault.write(path, body);
  const found = isNew ? undefined : await vault.read(path);
  if (found === undefined) return { what, status: "create", apply };
  const differing = Object.entries(body).filter(([field, wanted]) => differs(field, wanted, found[field], pki));
  if (differing.length === 0) return { what, status: "present" };
  const detail = differing
    .map(([field, wanted]) => `${field} is ${JSON.stringify(found[field])}, wanted ${JSON.stringify(wanted)}`)
    .join("; ");
  return update
    ? { what, status: "change", detail, apply }
    : { what, status: "conflict", detail: `${detail}; change it with --update` };
}

/** Mount, CA and role, in the order in which they must be applied. Reads only. */
export async function pkiSteps(
  vault: VaultControl,
  pki: WantedPki,
  options: PkiOptions & { readonly update: boolean },
): Promise<readonly PlanStep[]> {
  const { prefix, mount: path } = pki;
  const config = { max_lease_ttl: caTtl };
  const mount = await engine({ vault, list: "sys/mounts", prefix, path, type: "pki", config });
  if (mount.status === "conflict") return [mount];
  const isNew = mount.status === "create";
  return [mount, await caStep(vault, { pki, isNew }, options), await roleStep(vault, pki, isNew, options.update)];
}
