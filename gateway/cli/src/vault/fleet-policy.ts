// The fleet service's policy, as HCL: edits the registry, keeps tokens, has nodes' certificates signed, rotates and
// promotes keys. It neither encrypts nor decrypts. (docs/architecture.md #control-plane.)
import { CliError } from "../commander.ts";
import { hmacPath, mountOf, registryList, registryPath, type WantedKey } from "./desired-state.ts";
import { pkiAt, storeList, storeMetadata, storePath, type WantedFleet } from "./fleet-state.ts";
import { block } from "./hcl-policy.ts";
import { isCovered, policyMark } from "./policy.ts";

/** What the service does with a key. */
export function rotatedKeys(keys: readonly WantedKey[]): readonly WantedKey[] {
  return keys.filter(({ use, encrypts }) => use === "data" && encrypts);
}

/** What of a key's configuration it changes. @param retires versions that nothing needs any more as well */
export function keyParameters(retires: boolean): readonly string[] {
  return ["min_encryption_version", ...(retires ? ["min_decryption_version"] : [])];
}

function keyBlocks(at: string, name: string, retires: boolean): readonly string[] {
  return [
    block(`${at}/keys/${name}`, ["read"]),
    block(`${at}/keys/${name}/rotate`, ["update"]),
    block(`${at}/keys/${name}/config`, ["update"], ...keyParameters(retires)),
  ];
}

/** Lines for all keys of a mount; an exact path comes before a pattern, and takes others' out again. */
function prefixBlocks(at: string, keys: readonly WantedKey[], retires: boolean): readonly string[] {
  const others = keys.filter((key) => mountOf(key) === at && !(key.use === "data" && key.encrypts));
  const deny = (path: string): string => block(`${at}/${path}`, ["deny"]);
  return [
    "",
    "# every key of the mount, which is the fleet's own: a pattern stands for all of one part of a path",
    ...keyBlocks(at, "+", retires),
    ...others.flatMap(({ name, use }) => [
      ...(use === "integrity" ? [deny(`keys/${name}`)] : []),
      deny(`keys/${name}/config`),
      deny(`keys/${name}/rotate`),
    ]),
  ];
}

/**
 * The least policy that works. Without Vault's default policy: what the service needs of that stands here.
 * @throws CliError where no key's name begins with the prefix
 */
export function fleetPolicyText(
  { registry, tokens, approvals, pki, keys }: WantedFleet,
  {
    prefix,
    retires = false,
  }: {
    /** Keys whose names begin so share their lines. */
    readonly prefix?: string | undefined;
    /** It retires versions of keys, and brings them back. */
    readonly retires?: boolean;
  } = {},
): string {
  const rotated = rotatedKeys(keys);
  const shared = new Set(rotated.filter((key) => isCovered(key, prefix)).map(mountOf));
  if (prefix !== undefined && shared.size === 0) throw new CliError(`--key-prefix ${prefix}: no key's name begins so`);
  const write = ["create", "read", "update"];
  return [
    policyMark,
    "# The fleet service's own token.",
    block("auth/token/lookup-self", ["read"]),
    block("auth/token/renew-self", ["update"]),
    block("auth/token/revoke-self", ["update"]),
    ...(registry === undefined
      ? []
      : [
          "",
          "# the registry: written, never deleted; the first one is that of 0.1.0",
          block(registryPath(registry), write),
          block(`${registryPath(registry)}/*`, write),
          block(registryList(registry), ["list"]),
        ]),
    ...(tokens === undefined ? [] : ["", "# tokens of nodes, as hashes", block(`${storePath(tokens)}/*`, write)]),
    ...(approvals === undefined
      ? []
      : [
          "",
          "# changes that wait for a second administrator, and are deleted when they are old",
          block(`${storePath(approvals)}/*`, write),
          block(`${storeMetadata(approvals)}/+`, ["delete"]),
          block(storeList(approvals), ["list"]),
        ]),
    ...(pki === undefined ? [] : ["", "# certificates of nodes", block(`${pkiAt(pki)}/sign/${pki.role}`, ["update"])]),
    ...[...shared].flatMap((at) => prefixBlocks(at, keys, retires)),
    ...rotated
      .filter((key) => !shared.has(mountOf(key)))
      .flatMap((key) => [
        "",
        `# rotates and promotes: ${key.clusters.join(", ")}`,
        ...keyBlocks(mountOf(key), key.name, retires),
      ]),
    ...keys
      .filter(({ use }) => use === "integrity")
      .flatMap((key) => ["", "# what gateways tell through Redis", block(hmacPath(key), ["update"])]),
    "",
  ].join("\n");
}
