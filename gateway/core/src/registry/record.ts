// What the fleet knows of a cluster, and the rules that a registry must keep from one edit to the
// next. (docs/architecture.md #registry.)
import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import {
  acceptRenamed,
  checkConfig,
  ConfigError,
  isTree,
  parseYaml,
  z,
  zInteger,
  zName,
} from "@claviger/proto/runtime/config.ts";
import {
  backendName,
  type ClusterName,
  clusterName,
  clusterUid,
  keyName,
  mountPath,
} from "@claviger/proto/wire/names.ts";
import type { KeyRef } from "../backend/port.ts";

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

/** The schema of a record; docs/reference/settings.md is generated from it. */
export const clusterRecord = z.strictObject({
  /** The name of the cluster, as it stands in client certificates. */
  name: zName(clusterName),
  /** The cluster's id for life: never reused, never changed. */
  uid: zName(clusterUid),
  /**
   * Rises whenever `keys` or `state` changes, so that every shim can tell the newer registry from the
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
  limits: z._default(
    z.strictObject({
      /** Requests of all nodes together that last; bursts of ten seconds' worth pass. */
      requestsPerSecond: z._default(zInteger(1, 1_000_000), defaultRequestsPerSecond),
    }),
    { requestsPerSecond: defaultRequestsPerSecond },
  ),
});

// Records are checked one by one: a bad one holds up no other.
const form = "must be the mapping 'clusters:' with a list of clusters; while there is none yet, 'clusters: []'";
const registryFile = z.strictObject(
  { clusters: z.array(z.unknown(), { error: "must be a list; while there is no cluster yet, 'clusters: []'" }) },
  { error: form },
);

/** Fields of a record that had another name in 0.1.0. */
const renamedFields = { former: "previousKeys" } as const;

/** The registry's value with each record's fields under the names of now. */
function withCurrentNames(value: unknown, warn: (line: string) => void): unknown {
  if (!isTree(value) || !Array.isArray(value["clusters"])) return value;
  const records = value["clusters"].map((record) => acceptRenamed(record, renamedFields, "clusters.", warn));
  return { ...value, clusters: records };
}

export type ClusterRecord = z.infer<typeof clusterRecord>;
/** All clusters by name, as one good edit gave them. */
export type Registry = ReadonlyMap<ClusterName, ClusterRecord>;

/**
 * One text for one content, whatever file or document it came from and however that is written:
 * tells whether two programs hold the same registry.
 */
export function registryDigest(registry: Registry): string {
  const records = [...registry.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return `sha256:${createHash("sha256").update(JSON.stringify(records)).digest("hex")}`;
}

/** What a gateway makes of an edit: every good record, and in place of a bad one what was good last. */
export type MergedRegistry = {
  readonly registry: Registry;
  /** Everything that is wrong, one line each. */
  readonly problems: readonly string[];
  /** Names whose record is bad, and of which none was good before. */
  readonly broken: ReadonlySet<string>;
};

/** One line, and the records that it makes bad. */
type Problem = { readonly names: readonly string[]; readonly text: string };

function duplicates(values: readonly string[]): ReadonlySet<string> {
  const seen = new Set<string>();
  return new Set(values.filter((value) => seen.size === seen.add(value).size));
}

/** The records that are well formed, and what is wrong with the others. */
function readRecords(list: readonly unknown[]): { readonly records: ClusterRecord[]; readonly problems: Problem[] } {
  const records: ClusterRecord[] = [];
  const problems: Problem[] = [];
  for (const [i, raw] of list.entries())
    try {
      records.push(checkConfig("", raw, clusterRecord));
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      const given = isTree(raw) ? raw["name"] : undefined;
      const names = typeof given === "string" ? [given] : [];
      problems.push(...error.problems.map((text) => ({ names, text: `clusters.${i}.${text}` })));
    }
  return { records, problems };
}

/**
 * The rules from one edit to the next.
 * @param before the cluster's record until now
 * @param owner the name that the uid has stood under
 */
function changeProblems(
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

/**
 * Reads an edit and holds it against what is in force.
 * @param backends the names that the configuration knows
 * @param previous undefined at the first load
 * @param warn called with one line for each field that stands under an earlier name
 * @throws ConfigError when the text as a whole is of no use
 */
export function mergeRegistry(
  source: string,
  text: string,
  backends: ReadonlySet<string>,
  previous: Registry | undefined,
  warn: (line: string) => void = () => {},
): MergedRegistry {
  const { clusters } = checkConfig(source, withCurrentNames(parseYaml(source, text), warn), registryFile);
  const { records, problems } = readRecords(clusters);
  const [names, uids] = [duplicates(records.map(({ name }) => name)), duplicates(records.map(({ uid }) => uid))];
  for (const name of names) problems.push({ names: [name], text: `clusters: the name ${name} stands twice` });
  for (const uid of uids) {
    const all = records.filter((record) => record.uid === uid);
    // Whose it was before keeps it.
    const others = all.filter(({ name }) => previous?.get(name)?.uid !== uid);
    const told = others.length === 0 ? all : others;
    problems.push({ names: told.map(({ name }) => name), text: `clusters: the uid ${uid} stands twice` });
  }
  const owners = new Map([...(previous?.values() ?? [])].map(({ uid, name }) => [uid, name]));
  for (const record of records) {
    const { name, keys, previousKeys } = record;
    for (const { backend } of [...keys, ...previousKeys])
      if (!backends.has(backend))
        problems.push({ names: [name], text: `${name}: backend ${backend} is not in the gateway's configuration` });
    for (const problem of changeProblems(record, previous?.get(name), owners.get(record.uid)))
      problems.push({ names: [name], text: problem });
  }
  const bad = new Set(problems.flatMap(({ names: told }) => told));
  const registry = new Map(records.filter(({ name }) => !bad.has(name)).map((record) => [record.name, record]));
  const broken = new Set<string>();
  for (const name of bad) {
    const before = clusterName.is(name) ? previous?.get(name) : undefined;
    if (before === undefined) broken.add(name);
    else registry.set(before.name, before);
  }
  return { registry, problems: problems.map(({ text: line }) => line), broken };
}

/**
 * Reads a registry in which everything must be good: for those who edit it.
 * @throws ConfigError with every problem
 */
export function parseRegistry(
  source: string,
  text: string,
  backends: ReadonlySet<string>,
  previous: Registry | undefined,
  warn: (line: string) => void = () => {},
): Registry {
  const { registry, problems } = mergeRegistry(source, text, backends, previous, warn);
  if (problems.length > 0) throw new ConfigError(source, problems);
  return registry;
}
