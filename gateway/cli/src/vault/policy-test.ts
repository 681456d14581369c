// Tests the gateway's policy with a token under that policy alone: tries what the gateway must be
// able to do, and looks for anything more that it could do. Changes nothing.
import { randomBytes } from "node:crypto";
import type { Secret } from "@claviger/proto/runtime/secret.ts";
import { recordIn, type VaultControl, type VaultData, VaultRefusal } from "./control.ts";
import {
  hmacPath,
  mountOf,
  registryList,
  registryMount,
  registryPath,
  type WantedKey,
  type WantedRegistry,
} from "./desired-state.ts";

import type { ForeignKey } from "./foreign-keys.ts";
import { isCovered } from "./policy.ts";
import {
  allowed,
  capabilitiesOf,
  closedOfVault,
  type Finding,
  judge,
  listFinding,
  notTried,
  type PolicyTest,
  refusedParameters,
  registryFinding,
} from "./policy-probe.ts";

/** Encrypts and decrypts as the gateway does: with associated data, under a named version. */
async function roundTrip(gateway: VaultControl, key: WantedKey, version: number): Promise<string> {
  const plaintext = randomBytes(32).toString("base64");
  const associated = Buffer.from("claviger/v1 policy test").toString("base64");
  const encrypted = await gateway.write(`${mountOf(key)}/encrypt/${key.name}`, {
    plaintext,
    associated_data: associated,
    key_version: version,
  });
  const { ciphertext } = recordIn(encrypted, "data");
  const decrypted = await gateway.write(`${mountOf(key)}/decrypt/${key.name}`, {
    ciphertext,
    associated_data: associated,
  });
  return recordIn(decrypted, "data")["plaintext"] === plaintext ? "the same bytes came back" : "other bytes came back";
}

async function neededOf(gateway: VaultControl, key: WantedKey): Promise<readonly Finding[]> {
  const at = mountOf(key);
  const findings: Finding[] = [];
  const attempt = async (path: string, what: string, run: () => Promise<string>): Promise<void> => {
    try {
      const detail = await run();
      findings.push({ path, what, ok: !detail.startsWith("other"), detail });
    } catch (error) {
      if (!(error instanceof VaultRefusal)) throw error;
      findings.push({ path, what, ok: false, detail: `refused (${error.status})` });
    }
  };
  if (key.use === "integrity") {
    await attempt(hmacPath(key), "hmac", async () => {
      await gateway.write(hmacPath(key), { input: Buffer.from("claviger/v1 policy test").toString("base64") });
      return "an HMAC came back";
    });
    return findings;
  }
  let state: VaultData = {};
  await attempt(`${at}/keys/${key.name}`, "read", async () => {
    state = (await gateway.read(`${at}/keys/${key.name}`)) ?? {};
    return `latest version ${String(state["latest_version"])}, promoted ${String(state["min_encryption_version"])}`;
  });
  const latest = Number(state["latest_version"] ?? 0);
  if (key.encrypts && latest > 0)
    await attempt(`${at}/encrypt|decrypt/${key.name}`, "encrypt, decrypt", () => roundTrip(gateway, key, latest));
  if (key.auto)
    await attempt(`${at}/keys/${key.name}/config`, "promote", async () => {
      // The value that it has: allowed or not, nothing changes.
      await gateway.write(`${at}/keys/${key.name}/config`, {
        min_encryption_version: Number(state["min_encryption_version"] ?? 0),
      });
      return "min_encryption_version was set to the value that it has";
    });
  return findings;
}

/** Paths that no gateway needs and that would help an attacker who holds its token. */
function forbidden(keys: readonly WantedKey[], policy: string, prefix: string | undefined): readonly string[] {
  const shared = new Set(keys.filter((key) => isCovered(key, prefix)).map(mountOf));
  return [
    ...keys.flatMap((key) => {
      const at = mountOf(key);
      return [
        ...(key.encrypts ? [] : [`${at}/encrypt/${key.name}`]),
        ...(key.use === "integrity" ? [`${at}/decrypt/${key.name}`, `${at}/keys/${key.name}`] : [hmacPath(key)]),
        ...(key.auto ? [] : [`${at}/keys/${key.name}/config`, `${at}/keys/${key.name}/rotate`]),
        `${at}/keys/${key.name}/trim`,
        `${at}/export/encryption-key/${key.name}`,
        `${at}/backup/${key.name}`,
        `${at}/restore/${key.name}`,
        `${at}/rewrap/${key.name}`,
        `${at}/datakey/plaintext/${key.name}`,
        `${at}/sign/${key.name}`,
      ];
    }),
    ...[...new Set(keys.map(mountOf))].flatMap((at) => [
      `${at}/keys`,
      `${at}/encrypt/another-key`,
      `${at}/decrypt/another-key`,
      // Lines for a prefix let a gateway read every key of the mount: no key material is in that.
      ...(shared.has(at) ? [] : [`${at}/keys/another-key`]),
      `${at}/restore`,
      `${at}/config/keys`,
    ]),
    `sys/policies/acl/${policy}`,
    ...closedOfVault,
  ];
}

/** What would open another cell's key, or another backend's. */
function foreignPaths(foreign: readonly ForeignKey[]): readonly string[] {
  return foreign.flatMap(({ at, name }) =>
    [`encrypt/${name}`, `decrypt/${name}`, `keys/${name}`, `keys/${name}/config`, `keys/${name}/rotate`].map(
      (path) => `${at}/${path}`,
    ),
  );
}

/** What gateways read of the registry, and nothing else. */
function registryReads(registry: WantedRegistry): readonly string[] {
  const at = registryPath(registry);
  return [at, `${at}/index`, `${at}/clusters/another-cluster`, `${at}/uids/another-uid`];
}

function aroundRegistry(registry: WantedRegistry): readonly string[] {
  return [
    `${registryPath(registry)}-another`,
    ...["metadata", "delete", "undelete", "destroy"].map(
      (verb) => `${registryMount(registry)}/${verb}/${registry.path}`,
    ),
    `${registryMount(registry)}/config`,
  ];
}

async function rotateOf(
  operator: VaultControl,
  token: Secret,
  keys: readonly WantedKey[],
): Promise<readonly Finding[]> {
  const paths = keys.filter(({ auto }) => auto).map((key) => `${mountOf(key)}/keys/${key.name}/rotate`);
  const data = paths.length === 0 ? {} : await capabilitiesOf(operator, token, paths);
  return paths.map((path) => allowed(data, path, ["update"], "rotate", notTried));
}

async function deniedOf(
  gateway: VaultControl,
  operator: VaultControl,
  token: Secret,
  keys: readonly WantedKey[],
  policy: string,
  registry: WantedRegistry | undefined,
  prefix: string | undefined,
  foreign: readonly ForeignKey[],
): Promise<readonly Finding[]> {
  const readable = [
    ...keys.filter(({ use }) => use === "data").map((key) => `${mountOf(key)}/keys/${key.name}`),
    ...(registry === undefined ? [] : registryReads(registry)),
  ];
  const lists = registry === undefined ? [] : [registryList(registry)];
  const paths = [
    ...forbidden(keys, policy, prefix),
    ...foreignPaths(foreign),
    ...(registry === undefined ? [] : aroundRegistry(registry)),
  ];
  const data = await capabilitiesOf(operator, token, [...paths, ...readable, ...lists]);
  const findings = [
    ...paths.map((path) => judge(data, path, [], "any access")),
    ...readable.map((path) => judge(data, path, ["read"], "create, update, delete")),
    ...lists.map((path) => judge(data, path, ["list"], "anything but a list")),
  ];
  for (const key of keys.filter(({ auto }) => auto)) {
    const path = `${mountOf(key)}/keys/${key.name}/config`;
    const { min_decryption_version: minDecryption, deletion_allowed: deletion } =
      (await gateway.read(`${mountOf(key)}/keys/${key.name}`)) ?? {};
    for (const body of [{ min_decryption_version: minDecryption }, { deletion_allowed: deletion }])
      findings.push(await refusedParameters(gateway, path, body));
  }
  return findings;
}

/**
 * @param openGateway access with a token
 * @param token one under the gateway's policy alone, short-lived
 */
export async function testPolicy({
  operator,
  openGateway,
  token,
  keys,
  policy,
  registry,
  prefix,
  foreign = [],
}: {
  readonly operator: VaultControl;
  readonly openGateway: (token: Secret) => VaultControl;
  readonly token: Secret;
  readonly keys: readonly WantedKey[];
  readonly policy: string;
  readonly registry?: WantedRegistry;
  /** Keys whose names begin so share their lines. */
  readonly prefix?: string;
  /** Keys of other cells and other backends. */
  readonly foreign?: readonly ForeignKey[];
}): Promise<PolicyTest> {
  const gateway = openGateway(token);
  const needed: Finding[] = [];
  for (const key of keys) needed.push(...(await neededOf(gateway, key)));
  needed.push(...(await rotateOf(operator, token, keys)));
  if (registry !== undefined) {
    for (const path of registryReads(registry).slice(0, 2)) needed.push(await registryFinding(gateway, path));
    needed.push(await listFinding(operator, token, registryList(registry)));
  }
  return { needed, denied: await deniedOf(gateway, operator, token, keys, policy, registry, prefix, foreign) };
}
