// Tests the fleet service's policy with a token under it alone: what it must be able to do, and what it must not,
// encrypt and decrypt before all. Changes nothing.
import type { Secret } from "@claviger/proto/runtime/secret.ts";
import type { OperatorVault } from "./carry-out.ts";
import type { VaultControl, VaultData } from "./control.ts";
import { hmacPath, mountOf, registryList, registryMount, registryPath, type WantedKey } from "./desired-state.ts";
import { keyParameters, rotatedKeys } from "./fleet-policy.ts";
import { pkiAt, storeList, storeMetadata, storePath, type WantedFleet } from "./fleet-state.ts";
import type { ForeignKey } from "./foreign-keys.ts";
import {
  allowed,
  capabilitiesOf,
  closedOfVault,
  type Finding,
  judge,
  listFinding,
  notTried,
  outcome,
  type PolicyTest,
  refusedParameters,
  registryFinding,
} from "./policy-probe.ts";

const write = ["create", "read", "update"];
const unwritten = " (not tried: it would write)";

/** What the service must be able to do, by what Vault says of its token. */
function neededPaths({
  registry,
  tokens,
  approvals,
  pki,
  keys,
}: WantedFleet): readonly (readonly [string, string[], string, string])[] {
  return [
    ...(registry === undefined
      ? []
      : [`${registryPath(registry)}/index`, `${registryPath(registry)}/clusters/a-cluster`].map(
          (path) => [path, write, "edit the registry", unwritten] as const,
        )),
    ...(tokens === undefined ? [] : [[`${storePath(tokens)}/a-token`, write, "keep tokens", unwritten] as const]),
    ...(approvals === undefined
      ? []
      : [
          [`${storePath(approvals)}/a-change`, write, "keep approvals", unwritten] as const,
          [storeList(approvals), ["list"], "list approvals", ""] as const,
          [`${storeMetadata(approvals)}/a-change`, ["delete"], "delete old approvals", ""] as const,
        ]),
    ...(pki === undefined ? [] : [[`${pkiAt(pki)}/sign/${pki.role}`, ["update"], "sign", ""] as const]),
    ...rotatedKeys(keys).map(
      (key) => [`${mountOf(key)}/keys/${key.name}/rotate`, ["update"], "rotate", notTried] as const,
    ),
    ...keys.filter(({ use }) => use === "integrity").map((key) => [hmacPath(key), ["update"], "hmac", ""] as const),
  ].map(([path, capabilities, what, why]) => [path, [...capabilities], what, why]);
}

/** A key that no gateway has made yet is not there, which is an answer, too. */
async function keyFindings(service: VaultControl, key: WantedKey, retires: boolean): Promise<readonly Finding[]> {
  const path = `${mountOf(key)}/keys/${key.name}`;
  let state: VaultData | undefined;
  const read = await outcome(async () => (state = await service.read(path)));
  const ok = read === "allowed";
  const found: Finding = { path, what: "read", ok, detail: ok ? "allowed" : `status ${read}` };
  if (state === undefined) return [found];
  const findings = [found];
  for (const parameter of keyParameters(retires)) {
    // The value that it has: allowed or not, nothing changes.
    const result = await outcome(() => service.write(`${path}/config`, { [parameter]: state?.[parameter] ?? 0 }));
    findings.push({
      path: `${path}/config`,
      what: parameter,
      ok: result === "allowed",
      detail: result === "allowed" ? "was set to the value that it has" : `not allowed (status ${result})`,
    });
  }
  return findings;
}

/** Of a key: everything that gives plaintext, key material or another key. */
function closedOfKey(key: WantedKey): readonly string[] {
  const at = mountOf(key);
  const { name, use, encrypts } = key;
  return [
    ...["encrypt", "decrypt", "rewrap", "datakey/plaintext", "datakey/wrapped", "sign", "verify"].map(
      (verb) => `${at}/${verb}/${name}`,
    ),
    ...["encryption-key", "signing-key", "hmac-key"].map((kind) => `${at}/export/${kind}/${name}`),
    ...["backup", "restore"].map((verb) => `${at}/${verb}/${name}`),
    ...["trim", "import", "import_version"].map((verb) => `${at}/keys/${name}/${verb}`),
    ...(use === "integrity" ? [`${at}/keys/${name}`] : [hmacPath(key)]),
    ...(use === "data" && encrypts ? [] : [`${at}/keys/${name}/rotate`, `${at}/keys/${name}/config`]),
  ];
}

function closedOfPki(at: string, role: string): readonly string[] {
  return [
    `issue/${role}`,
    "sign/another-role",
    "sign-verbatim",
    `sign-verbatim/${role}`,
    "sign-self-issued",
    `roles/${role}`,
    "roles/another-role",
    "root",
    "root/generate/internal",
    "root/sign-intermediate",
    "intermediate/generate/internal",
    "intermediate/set-signed",
    "config/ca",
    "config/urls",
    "config/issuers",
    "revoke",
    "tidy",
  ].map((path) => `${at}/${path}`);
}

/** What KV keeps beside one path: its versions, and others' documents. */
function closedOfKv(mount: string, path: string): readonly string[] {
  return [
    `${mount}/data/${path}-another`,
    `${mount}/data/anything`,
    ...["metadata", "delete", "undelete", "destroy"].map((verb) => `${mount}/${verb}/${path}`),
    `${mount}/metadata/${path}/clusters/a-cluster`,
    `${mount}/config`,
  ];
}

function closedPaths(wanted: WantedFleet, policy: string, foreign: readonly ForeignKey[]): readonly string[] {
  const { registry, tokens, approvals, pki, keys } = wanted;
  return [
    ...keys.flatMap(closedOfKey),
    ...[...new Set(keys.map(mountOf))].flatMap((at) =>
      ["keys", "encrypt/another-key", "decrypt/another-key", "restore", "config/keys"].map((path) => `${at}/${path}`),
    ),
    ...foreign.flatMap(({ at, name }) =>
      ["encrypt", "decrypt", "keys"].map((verb) => `${at}/${verb}/${name}`).concat(`${at}/keys/${name}/rotate`),
    ),
    ...(pki === undefined ? [] : closedOfPki(pkiAt(pki), pki.role)),
    ...(registry === undefined ? [] : closedOfKv(registryMount(registry), registry.path)),
    ...[tokens, approvals].flatMap((one) => (one ? closedOfKv(`${one.prefix}${one.mount}`, one.path) : [])),
    `sys/policies/acl/${policy}`,
    ...closedOfVault,
  ];
}

/** Parameters of a key's configuration that would open or destroy something. */
async function parameterFindings(service: VaultControl, key: WantedKey, retires: boolean): Promise<readonly Finding[]> {
  const path = `${mountOf(key)}/keys/${key.name}`;
  const state = await service.read(path);
  if (state === undefined) return [];
  const { min_decryption_version, deletion_allowed, exportable } = state;
  const bodies = [...(retires ? [] : [{ min_decryption_version }]), { deletion_allowed }, { exportable }];
  return await Promise.all(bodies.map((body) => refusedParameters(service, `${path}/config`, body)));
}

/** @param token one under the service's policy alone, short-lived */
export async function testFleetPolicy({
  vault: { control, open },
  token,
  wanted,
  policy,
  retires,
  foreign,
}: {
  readonly vault: OperatorVault;
  readonly token: Secret;
  readonly wanted: WantedFleet;
  readonly policy: string;
  readonly retires: boolean;
  /** Keys of other backends in reach of the login. */
  readonly foreign: readonly ForeignKey[];
}): Promise<PolicyTest> {
  const service = open(token);
  const { registry, keys } = wanted;
  const rotated = rotatedKeys(keys);
  const must = neededPaths(wanted);
  const closed = [...new Set(closedPaths(wanted, policy, foreign))];
  const readOnly = rotated.map((key) => `${mountOf(key)}/keys/${key.name}`);
  const data = await capabilitiesOf(control, token, [...must.map(([path]) => path), ...closed, ...readOnly]);
  const needed: Finding[] = must.map(([path, capabilities, what, why]) => allowed(data, path, capabilities, what, why));
  if (registry !== undefined) {
    needed.push(await registryFinding(service, registryPath(registry)));
    needed.push(await listFinding(control, token, registryList(registry)));
  }
  const denied: Finding[] = [
    ...closed.map((path) => judge(data, path, [], "any access")),
    ...readOnly.map((path) => judge(data, path, ["read"], "create, update, delete")),
  ];
  for (const key of rotated) {
    needed.push(...(await keyFindings(service, key, retires)));
    denied.push(...(await parameterFindings(service, key, retires)));
  }
  return { needed, denied };
}
