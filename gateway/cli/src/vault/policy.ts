// The gateway's policy, as HCL: a few lines for each key, or a few for all keys of a mount whose names
// begin alike. (docs/architecture.md #vault.)
import { CliError } from "../commander.ts";
import { hmacPath, mountOf, registryList, registryPath, type WantedKey, type WantedRegistry } from "./desired-state.ts";
import { block } from "./hcl-policy.ts";

/** The first line of a policy that this command wrote and may therefore write again. */
export const policyMark = "# Written by 'claviger vault init'; changes by hand are overwritten.";

function keyBlocks(key: WantedKey): readonly string[] {
  const [at, { name, encrypts, auto, clusters }] = [mountOf(key), key];
  if (key.use === "integrity")
    return ["", "# what gateways tell each other through Redis", block(hmacPath(key), ["update"])];
  return [
    "",
    `# ${clusters.join(", ")}`,
    ...(encrypts ? [block(`${at}/encrypt/${name}`, ["update"])] : []),
    block(`${at}/decrypt/${name}`, ["update"]),
    block(`${at}/keys/${name}`, ["read"]),
    ...(auto
      ? [
          "# promotes a new version; nothing else of the key's configuration can be changed",
          block(`${at}/keys/${name}/config`, ["update"], "min_encryption_version"),
          "# a key that came back older from a backup is rotated before it encrypts again",
          block(`${at}/keys/${name}/rotate`, ["update"]),
        ]
      : []),
  ];
}

/** Does a line of the policy that ends in the prefix and `*` speak of the key? */
export function isCovered(key: WantedKey, prefix: string | undefined): boolean {
  return prefix !== undefined && key.use === "data" && key.name.startsWith(prefix);
}

/**
 * What the names of many keys of one mount begin with, up to a `-`, `_` or `.`; undefined where they have
 * nothing in common, or are few.
 */
export function commonPrefix(keys: readonly WantedKey[]): string | undefined {
  const [first, ...others] = keys.filter(({ use }) => use === "data");
  if (first === undefined || others.length < 20) return undefined;
  let { length } = first.name;
  for (const { name } of others) while (!name.startsWith(first.name.slice(0, length))) length -= 1;
  return /^.+[-_.]/.exec(first.name.slice(0, length))?.[0];
}

/**
 * Lines for the keys of one mount whose names begin with the prefix, whatever their number. What one of
 * them may not, an exact path denies: that comes before every pattern.
 * (https://developer.hashicorp.com/vault/docs/concepts/policies#policy-syntax)
 */
function prefixBlocks(at: string, prefix: string, keys: readonly WantedKey[], own: readonly WantedKey[]) {
  const deny = (path: string): string => block(`${at}/${path}`, ["deny"]);
  const covered = keys.filter((key) => isCovered(key, prefix));
  const promotes = covered.some(({ auto }) => auto);
  return [
    "",
    `# every key whose name begins with ${prefix}`,
    block(`${at}/encrypt/${prefix}*`, ["update"]),
    block(`${at}/decrypt/${prefix}*`, ["update"]),
    "# the mount is the fleet's own: a pattern ends the path, or stands for all of one part of it",
    block(`${at}/keys/+`, ["read"]),
    ...(promotes
      ? [block(`${at}/keys/+/config`, ["update"], "min_encryption_version"), block(`${at}/keys/+/rotate`, ["update"])]
      : []),
    ...covered.flatMap(({ name, encrypts, auto }) => [
      ...(encrypts ? [] : [deny(`encrypt/${name}`)]),
      ...(auto || !promotes ? [] : [deny(`keys/${name}/config`), deny(`keys/${name}/rotate`)]),
    ]),
    ...keys
      .filter((key) => key.use === "data" && !isCovered(key, prefix) && !key.auto && promotes)
      .flatMap(({ name }) => [deny(`keys/${name}/config`), deny(`keys/${name}/rotate`)]),
    ...own.flatMap(({ name }) => [
      ...(name.startsWith(prefix) ? [deny(`encrypt/${name}`), deny(`decrypt/${name}`)] : []),
      deny(`keys/${name}`),
      ...(promotes ? [deny(`keys/${name}/config`), deny(`keys/${name}/rotate`)] : []),
    ]),
  ];
}

function allPrefixBlocks(keys: readonly WantedKey[], prefix: string): readonly string[] {
  const mounts = new Set(keys.filter((key) => isCovered(key, prefix)).map(mountOf));
  if (mounts.size === 0) throw new CliError(`--key-prefix ${prefix}: no key's name begins so`);
  return [...mounts].flatMap((at) => {
    const there = keys.filter((key) => mountOf(key) === at);
    const own = there.filter(({ use }) => use === "integrity");
    return prefixBlocks(at, prefix, there, own);
  });
}

/**
 * The least policy that works, as HCL. Without Vault's default policy: what the gateway needs of
 * that stands here.
 * @param prefix keys whose names begin so share their lines
 * @throws CliError where none does
 */
export function policyText(keys: readonly WantedKey[], registry?: WantedRegistry, prefix?: string): string {
  return [
    policyMark,
    "# The gateway's own token.",
    block("auth/token/lookup-self", ["read"]),
    block("auth/token/renew-self", ["update"]),
    block("auth/token/revoke-self", ["update"]),
    ...(prefix === undefined ? [] : allPrefixBlocks(keys, prefix)),
    ...keys.filter((key) => !isCovered(key, prefix)).flatMap(keyBlocks),
    ...(registry === undefined
      ? []
      : [
          "",
          "# the registry: read, never written; the first one is that of 0.1.0",
          block(registryPath(registry), ["read"]),
          block(`${registryPath(registry)}/*`, ["read"]),
          block(registryList(registry), ["list"]),
          "# ciphertexts that show whether earlier key versions decrypt",
          block(`${registryPath(registry)}-canary/*`, ["create", "read", "update"]),
        ]),
    "",
  ].join("\n");
}
