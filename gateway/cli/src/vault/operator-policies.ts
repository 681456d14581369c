// The least policies for people: rotate, retire, and edit the registry, one each, so that a team can
// give them to different hands. Vault's default policy is expected beside them (lookup-self).
import { hmacPath, mountOf, registryList, registryPath, type WantedKey, type WantedRegistry } from "./desired-state.ts";
import { block } from "./hcl-policy.ts";

export type OperatorPolicy = { readonly name: string; readonly text: string };

function rotate(keys: readonly WantedKey[]): string {
  return [
    "# claviger key status, rotate, promote",
    ...keys.flatMap((key) => [
      block(`${mountOf(key)}/keys/${key.name}`, ["read"]),
      block(`${mountOf(key)}/keys/${key.name}/rotate`, ["update"]),
      block(`${mountOf(key)}/keys/${key.name}/config`, ["update"], "min_encryption_version"),
    ]),
  ].join("\n");
}

function retire(keys: readonly WantedKey[], integrity: readonly WantedKey[]): string {
  return [
    "# claviger key usage, retire, unretire",
    ...keys.flatMap((key) => [
      block(`${mountOf(key)}/keys/${key.name}`, ["read"]),
      block(`${mountOf(key)}/keys/${key.name}/config`, ["update"], "min_decryption_version"),
      "# tries one object of each version; key usage --no-decrypt needs it not",
      block(`${mountOf(key)}/decrypt/${key.name}`, ["update"]),
    ]),
    ...(integrity.length === 0 ? [] : ["# reads in Redis which key_ids the nodes show, and audit verify"]),
    ...integrity.map((key) => block(hmacPath(key), ["update"])),
  ].join("\n");
}

/** One policy for each job. @param registry where it lies in this Vault */
export function operatorPolicies(
  name: string,
  keys: readonly WantedKey[],
  registry: WantedRegistry | undefined,
): readonly OperatorPolicy[] {
  const data = keys.filter(({ use }) => use === "data");
  const integrity = keys.filter(({ use }) => use === "integrity");
  return [
    { name: `${name}-rotate`, text: rotate(data.filter(({ encrypts }) => encrypts)) },
    { name: `${name}-retire`, text: retire(data, integrity) },
    ...(registry === undefined
      ? []
      : [
          {
            name: `${name}-registry`,
            text: [
              "# claviger cluster, registry",
              block(registryPath(registry), ["create", "read", "update"]),
              block(`${registryPath(registry)}/*`, ["create", "read", "update"]),
              block(registryList(registry), ["list"]),
            ].join("\n"),
          },
        ]),
  ];
}

/** For people, with the command that writes each. */
export function printOperatorPolicies(policies: readonly OperatorPolicy[]): string {
  return policies.map(({ name, text }) => `# vault policy write ${name} -\n${text}\n`).join("\n");
}
