// What a Vault must hold so that the gateway can serve the registry's clusters, derived from registry and configuration alone. (Design section 8.)
import type { KeyRef } from "../../backend/port.ts";
import { keyPath } from "../../keyid.ts";
import type { ClusterRecord } from "../../registry/record.ts";
import { CliError } from "../commander.ts";

/** One Transit key. */
export type WantedKey = {
  /** The way from the namespace that the gateway logs in to, down to the key's: "" or "below/". Stands before each path. */
  readonly prefix: string;
  readonly mount: string;
  readonly name: string;
  /** Some cluster encrypts with it; false: it stands under `former` only and may just decrypt. */
  readonly encrypts: boolean;
  /** Some cluster rotates by itself: the gateway promotes, and rotates once more after a restore from a backup. */
  readonly auto: boolean;
  readonly clusters: readonly string[];
};

const prefixOf = (ref: KeyRef, login: string | undefined): string => {
  if (ref.namespace === undefined || ref.namespace === login) return "";
  if (login === undefined) return `${ref.namespace}/`;
  if (ref.namespace.startsWith(`${login}/`)) return `${ref.namespace.slice(login.length + 1)}/`;
  throw new CliError(
    `${keyPath(ref)}: namespace ${ref.namespace} is not below ${login}, where the gateway logs in; no policy there can reach it`,
  );
};

/** The keys of one backend, by path. */
export const wantedKeys = (records: readonly ClusterRecord[], backend: string, login: string | undefined): readonly WantedKey[] => {
  const found = new Map<string, WantedKey>();
  const add = (cluster: ClusterRecord, ref: KeyRef, encrypts: boolean): void => {
    if (ref.backend !== backend) return;
    const prefix = prefixOf(ref, login);
    const path = `${prefix}${ref.mount}/${ref.key}`;
    const earlier = found.get(path);
    found.set(path, {
      prefix,
      mount: ref.mount,
      name: ref.key,
      encrypts: encrypts || earlier?.encrypts === true,
      auto: (encrypts && cluster.rotation === "auto") || earlier?.auto === true,
      clusters: [...new Set([...(earlier?.clusters ?? []), cluster.name])],
    });
  };
  for (const record of records) {
    for (const ref of record.keys) add(record, ref, true);
    for (const ref of record.former) add(record, ref, false);
  }
  return [...found.values()];
};

/** The first line of a policy that this command wrote and may therefore write again. */
export const policyMark = "# Written by 'claviger vault init'; changes by hand are overwritten.";

const block = (path: string, capabilities: readonly string[], parameters?: string): string => {
  const list = capabilities.map((capability) => `"${capability}"`).join(", ");
  if (parameters === undefined) return `path "${path}" { capabilities = [${list}] }`;
  return `path "${path}" {\n  capabilities = [${list}]\n  allowed_parameters = { "${parameters}" = [] }\n}`;
};

const keyBlocks = ({ prefix, mount, name, encrypts, auto, clusters }: WantedKey): readonly string[] => [
  "",
  `# ${clusters.join(", ")}`,
  ...(encrypts ? [block(`${prefix}${mount}/encrypt/${name}`, ["update"])] : []),
  block(`${prefix}${mount}/decrypt/${name}`, ["update"]),
  block(`${prefix}${mount}/keys/${name}`, ["read"]),
  ...(auto
    ? [
        "# promotes a new version; nothing else of the key's configuration can be changed",
        block(`${prefix}${mount}/keys/${name}/config`, ["update"], "min_encryption_version"),
        "# a key that came back older from a backup is rotated before it encrypts again",
        block(`${prefix}${mount}/keys/${name}/rotate`, ["update"]),
      ]
    : []),
];

/** The least policy that works, as HCL. Without Vault's default policy: what the gateway needs of that stands here. */
export const policyText = (keys: readonly WantedKey[]): string =>
  [
    policyMark,
    "# The gateway's own token.",
    block("auth/token/lookup-self", ["read"]),
    block("auth/token/renew-self", ["update"]),
    block("auth/token/revoke-self", ["update"]),
    ...keys.flatMap(keyBlocks),
    "",
  ].join("\n");
