// The fleet service, as the lab runs it, and an operator's CLI at it.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { issueOperator } from "@claviger/gateway-core/src/pki/authority.ts";
import { writePem } from "@claviger/gateway-core/src/pki/files.ts";
import type { WantedKey } from "@claviger/cli/src/vault/desired-state.ts";
import { fleetPolicyText } from "@claviger/cli/src/vault/fleet-policy.ts";
import type { WantedFleet } from "@claviger/cli/src/vault/fleet-state.ts";
import { stringify } from "yaml";
import { type Pki, trustDomain } from "./fleet.ts";
import { integrityKey, type OpenBao, transitMount } from "./openbao.ts";
import { type LabProcess, type ProcessGroup, readyLine } from "./process-group.ts";

const main = join(import.meta.dirname, "..", "..", "gateway", "fleet", "src", "main.ts");

export type LabFleetService = {
  readonly url: string;
  readonly admin: string;
  readonly config: string;
  readonly audit: string;
  readonly proc: LabProcess;
  /** Options of the CLI that make it this operator's. */
  options(operator: string): Promise<readonly string[]>;
};

/**
 * Writes a file of contexts with one of an operator, who reaches the service and, with a token of their own, the
 * gateways' Vault. @param config a gateway's configuration @returns the file
 */
export function writeContext(
  dir: string,
  { url }: LabFleetService,
  { ca, operatorCert: cert, operatorKey: key }: Pki,
  config: string,
): string {
  const file = join(dir, "contexts.yaml");
  const lab = { config, fleet: { url, ca, cert, key } };
  writeFileSync(file, stringify({ current: "lab", contexts: { lab } }), { mode: 0o600 });
  return file;
}

/** Who may do what in a lab. */
export const operators = {
  ada: { role: "admin" },
  olga: { role: "operator" },
  vera: { role: "viewer" },
  scope: { role: "operator", clusters: { matchLabels: { team: "blue" } } },
} as const;

export async function startFleetService({
  processes,
  dir,
  pki,
  settings,
  name = "fleet",
}: {
  readonly processes: ProcessGroup;
  readonly dir: string;
  readonly pki: Pki;
  /** Those that have no default here, and any to replace. */
  readonly settings: Readonly<Record<string, unknown>> & { readonly gateways: readonly string[] };
  /** Of a replica, where there are several. */
  readonly name?: string;
}): Promise<LabFleetService> {
  const home = join(dir, name);
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const tls = await pki.gateway(name);
  const audit = join(home, "audit.jsonl");
  const config = join(home, "fleet.yaml");
  const all = {
    listen: { address: "127.0.0.1", port: 0 },
    admin: { address: "127.0.0.1", port: 0 },
    tls: { ...tls, clientCa: pki.ca },
    trustDomain,
    certificates: { ca: { kind: "directory", directory: join(dir, "pki") }, trustBundle: pki.ca },
    tokens: { kind: "directory", directory: join(home, "tokens") },
    operators,
    audit: { sinks: [{ kind: "file", path: audit }] },
    // Its pages are built by whoever wants them.
    console: { enabled: false },
    ...settings,
  };
  writeFileSync(config, stringify(all), { mode: 0o600 });
  const proc = processes.start(name, [process.execPath, main, "--config", config]);
  const ready = await readyLine(proc);
  const url = String(ready["listen"]);
  return {
    url,
    admin: String(ready["admin"]),
    config,
    audit,
    proc,
    async options(operator) {
      const pair = await writePem({
        dir: join(dir, "pki"),
        name: `operator-${operator}`,
        pair: await issueOperator({ ca: pki.authority, name: operator }),
      });
      return ["--fleet", url, "--ca", pki.ca, "--cert", pair.cert, "--key", pair.key];
    },
  };
}

/** A Transit key of the lab, as a policy has it. */
function labKey(name: string): WantedKey {
  const isIntegrity = name === integrityKey;
  return {
    prefix: "",
    mount: transitMount,
    name,
    use: isIntegrity ? "integrity" : "data",
    encrypts: !isIntegrity,
    auto: !isIntegrity,
    clusters: isIntegrity ? [] : [name],
  };
}

/**
 * The service's own login, under the policy that `claviger vault init --for fleet` writes.
 * @param keys Transit keys of clusters
 * @returns its backend
 */
export async function fleetLogin(
  bao: OpenBao,
  dir: string,
  keys: readonly string[],
  stores: Pick<WantedFleet, "registry" | "tokens" | "approvals" | "pki">,
  { retires = false }: { readonly retires?: boolean } = {},
): Promise<Readonly<Record<string, unknown>>> {
  const policy = fleetPolicyText({ ...stores, keys: [...keys, integrityKey].map(labKey) }, { retires });
  await bao.call("PUT", "sys/policies/acl/claviger-fleet", { policy });
  const { auth } = await bao.call<{ auth: { client_token: string } }>("POST", "auth/token/create", {
    policies: ["claviger-fleet"],
    period: "5m",
  });
  const file = join(dir, "fleet.token");
  writeFileSync(file, auth.client_token, { mode: 0o600 });
  return { kind: "vault", addresses: [bao.addr], auth: { kind: "token", file } };
}

/** Where everything of the service is in the lab's Vault. */
const kv = { prefix: "", mount: "kv" };
const allStores = {
  registry: { ...kv, path: "registry" },
  tokens: { ...kv, path: "node-tokens" },
  approvals: { ...kv, path: "approvals" },
  pki: { prefix: "", mount: "pki", role: "claviger-node", trustDomain, lifetime: 86_400 },
};

/**
 * A PKI that signs under the lab's own authority, a KV store, and the service's login.
 * @param keys Transit keys that it rotates, promotes and retires
 * @returns its backend
 */
export async function setUpFleetVault(
  bao: OpenBao,
  pki: Pki,
  dir: string,
  keys: readonly string[] = [],
): Promise<Readonly<Record<string, unknown>>> {
  await bao.call("POST", "sys/mounts/pki", { type: "pki" });
  await bao.call("POST", "sys/mounts/kv", { type: "kv", options: { version: "2" } });
  const bundle = pki.authority.key.use((key) => `${readFileSync(pki.ca, "utf8")}${key}`);
  await bao.call("POST", "pki/config/ca", { pem_bundle: bundle });
  await bao.call("POST", "pki/roles/claviger-node", {
    allow_any_name: true,
    enforce_hostnames: false,
    allowed_uri_sans: [`spiffe://${trustDomain}/cluster/*`],
    use_csr_common_name: false,
    use_csr_sans: false,
    server_flag: false,
    client_flag: true,
    key_type: "ec",
    key_bits: 256,
    max_ttl: "72h",
  });
  return await fleetLogin(bao, dir, keys, allStores, { retires: keys.length > 0 });
}
