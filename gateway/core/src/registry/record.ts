// What the fleet knows of a cluster, and the rules that a registry must keep from one edit to the
// next. (docs/architecture.md #registry.)
import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { checkConfig, ConfigError, isTree, z, zInteger, zName } from "@claviger/proto/runtime/config.ts";
import {
  backendName,
  type ClusterName,
  clusterName,
  clusterUid,
  keyName,
  mountPath,
  nodeName,
} from "@claviger/proto/wire/names.ts";
import type { KeyRef } from "../backend/port.ts";
import { labelsSchema } from "./labels.ts";

const keyRef = z.pipe(
  z.strictObject({
    /** The backend that holds the key: a name of the gateway's `backends`. */
    backend: zName(backendName),
    /** The Vault namespace of the mount. */
    namespace: z.optional(zName(mountPath)),
    /** The Transit mount. */
    mount: zName(mountPath),
    /** The name of the key. */
    key: zName(keyName),
  }),
  z.transform(({ namespace, ...rest }): KeyRef => (namespace === undefined ? rest : { ...rest, namespace })),
);

export const defaultRequestsPerSecond = 2000;

/** A serial number as certificates are compared by: hexadecimal, upper case, no leading zeros. */
export function normalSerial(serial: string): string {
  return serial
    .replaceAll(":", "")
    .toUpperCase()
    .replace(/^0+(?=.)/, "");
}

const serial = z.pipe(
  z.string().check(
    z.regex(/^[0-9A-Fa-f]{1,2}(?::?[0-9A-Fa-f]{2}){0,31}$/, {
      error: "must be a certificate's serial number in hexadecimal digits, at most 32 bytes",
    }),
  ),
  z.transform(normalSerial),
);

const nodes = z.strictObject({
  /** The nodes that the cluster has: a certificate of any other name is refused. Every name is good where this is absent. */
  expected: z.optional(z.array(zName(nodeName))),
  /** Nodes that are refused, whatever certificate they show. */
  revoked: z.optional(z.array(zName(nodeName))),
  /** Certificates that are refused, by their serial numbers, hexadecimal. */
  revokedSerials: z.optional(z.array(serial)),
});

/** The schema of a record; docs/reference/settings.md is generated from it. */
export const clusterRecord = z.strictObject({
  /** The name of the cluster, as it stands in client certificates. */
  name: zName(clusterName),
  /** The cluster's id for life: never reused, never changed. */
  uid: zName(clusterUid),
  /**
   * Rises whenever `keys`, `state` or `nodes` changes, so that every shim can tell the newer registry from the
   * older. A raised one also gives up a key version that a restored backend has lost.
   */
  generation: z._default(zInteger(0, 1_000_000_000), 0),
  /** What the cluster may do. A `decrypt-only` cluster has no Status and no Encrypt. */
  state: z.enum(["active", "decrypt-only", "suspended"]),
  /** Whether gateways promote newer key versions, or wait for `claviger key promote`. */
  rotation: z._default(z.enum(["auto", "manual"]), "auto"),
  /** What encrypts. The envelope has room for two; one backend for each cluster today. */
  keys: z.array(keyRef).check(z.length(1, { error: "must list exactly one key" })),
  /** What may still decrypt: earlier names, mounts or backends. */
  previousKeys: z._default(z.array(keyRef), []),
  /**
   * The CA that alone may speak for the cluster, where the gateways trust several: one of
   * `tls.clientCa`, as `sha256:` and the hexadecimal SHA-256 of its certificate, or `spki-sha256:` and
   * that of its public key, which a renewal of the CA keeps.
   */
  issuer: z.optional(
    z.string().check(
      z.regex(/^(?:spki-)?sha256:[0-9a-f]{64}$/, {
        error: "must be sha256: or spki-sha256: and 64 hexadecimal digits, lower case",
      }),
    ),
  ),
  /** What gateways (`serves`) and commands select clusters by: keys and values as labels of Kubernetes have them, at most 32. */
  labels: z.optional(labelsSchema),
  /** Which nodes may speak for the cluster; also holds on connections that are open. */
  nodes: z.optional(nodes),
  limits: z._default(
    z.strictObject({
      /** Requests of all nodes together that last; bursts of ten seconds' worth pass. */
      requestsPerSecond: z._default(zInteger(1, 1_000_000), defaultRequestsPerSecond),
    }),
    { requestsPerSecond: defaultRequestsPerSecond },
  ),
});

export type ClusterRecord = z.infer<typeof clusterRecord>;
/** All clusters by name, as one good edit gave them. */
export type Registry = ReadonlyMap<ClusterName, ClusterRecord>;

/** A record whose fields are good, or what is wrong with it. */
export type CheckedRecord = {
  /** As it is given, also where the record is bad; undefined where there is none to tell. */
  readonly name: string | undefined;
  readonly record?: ClusterRecord;
  /** One line each, without where it stands. */
  readonly problems: readonly string[];
};

/** Checks the fields of one record. */
export function checkRecord(raw: unknown): CheckedRecord {
  const given = isTree(raw) ? raw["name"] : undefined;
  const name = typeof given === "string" ? given : undefined;
  try {
    return { name, record: checkConfig("", raw, clusterRecord), problems: [] };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { name, problems: error.problems };
  }
}

/** Backends of the record that the gateway's configuration does not name, one line each. */
export function backendProblems(
  { name, keys, previousKeys }: ClusterRecord,
  backends: Pick<ReadonlySet<string>, "has">,
): readonly string[] {
  return [...keys, ...previousKeys].flatMap(({ backend }) =>
    backends.has(backend) ? [] : [`${name}: backend ${backend} is not in the gateway's configuration`],
  );
}

/**
 * The rules from one edit to the next.
 * @param before the cluster's record until now
 * @param owner the name that the uid has stood under
 */
export function changeProblems(
  { name, uid, keys, generation }: ClusterRecord,
  before: ClusterRecord | undefined,
  owner: string | undefined,
): readonly string[] {
  const isOfOther =
    owner === undefined || owner === name
      ? []
      : [`${name}: the uid ${uid} is that of ${owner}, for life; give this cluster its own`];
  if (before === undefined) return isOfOther;
  return [
    ...isOfOther,
    ...(before.uid === uid
      ? []
      : [`${name}: a cluster's uid is for life; what ${before.uid} encrypted could never be decrypted as ${uid}`]),
    ...(generation < before.generation
      ? [`${name}: generation went back from ${before.generation} to ${generation}`]
      : []),
    ...(generation === before.generation && !isDeepStrictEqual(keys, before.keys)
      ? [
          `${name}: keys changed; raise generation to ${before.generation + 1} and list the earlier keys under previousKeys`,
        ]
      : []),
  ];
}

/** 32 bytes that say what a record holds, however its source writes it. */
export function recordDigest(record: ClusterRecord): Buffer {
  const { labels } = record;
  // The order of labels is their source's; that of fields is the schema's.
  const ordered =
    labels &&
    Object.fromEntries(
      Object.keys(labels)
        .toSorted()
        .map((key) => [key, labels[key]]),
    );
  return createHash("sha256")
    .update(JSON.stringify({ ...record, labels: ordered }))
    .digest();
}

/** The digests of several records in one: the order does not count, and one can be taken out again. */
export function addDigest(sum: Buffer, digest: Buffer): void {
  sum.set(sum.map((byte, i) => byte ^ digest.readUInt8(i)));
}

/**
 * One word for one content, whatever file or document it came from and however that is written: tells
 * whether two programs hold the same registry.
 */
export function registryDigest(registry: Registry): string {
  const sum = Buffer.alloc(32);
  for (const record of registry.values()) addDigest(sum, recordDigest(record));
  return digestText(sum);
}

/** A digest as /readyz shows it. */
export function digestText(sum: Buffer): string {
  return `sha256:${sum.toString("hex")}`;
}
