// May the versions of a key below one be retired? Every reason against it at once.
// (docs/architecture.md #rotation.)
import type { KeyRef, KeyState } from "../backend/port.ts";
import { keyPath } from "../key/key-id.ts";
import type { Observation } from "../redis/observations.ts";
import type { ClusterRecord } from "../registry/record.ts";
import { printable } from "@claviger/proto/runtime/table.ts";
import { type CountedUsage, type CountedUse, type ForeignUse, isSameIncarnation } from "./usage.ts";

/** A cluster that uses the key, and what is known of it. */
export type Counted = {
  readonly record: ClusterRecord;
  /** What its etcds hold; undefined when none was named. */
  readonly usage: CountedUsage | undefined;
  /** Some of them in a snapshot, which lacks what was written after it. */
  readonly isFromSnapshot: boolean;
  /** The key_id that its nodes must show; undefined where another key encrypts for it by now. */
  readonly keyId: string | undefined;
  /** The key_ids of the versions that are to be retired, as this cluster has them. */
  readonly retiring: ReadonlySet<string>;
  readonly nodes: Nodes;
};

/**
 * What is known of a cluster's nodes: that the operator has looked, or how many there are, as far
 * as was said; and the observations, which can veto either way.
 */
export type Nodes =
  | { readonly kind: "checked"; readonly entries: readonly Observation[] }
  | { readonly kind: "unknown" }
  /** There is no Redis to ask. */
  | { readonly kind: "blind" }
  | { readonly kind: "observations"; readonly entries: readonly Observation[]; readonly expected: number };

export type Retirement = {
  /** Every name that the clusters have for the key: an envelope carries the one of its day. */
  readonly names: readonly KeyRef[];
  readonly state: KeyState;
  /** Versions below this one are to be retired. */
  readonly before: number;
  readonly clusters: readonly Counted[];
  /** KMS providers and backends of which the operator says that they use another key. */
  readonly otherKeys: ReadonlySet<string>;
  /** The backends that the configuration knows. */
  readonly backends: ReadonlySet<string>;
  /** The operator says that every snapshot is younger than the nodes' new key_id. */
  readonly areSnapshotsChecked: boolean;
  readonly quietMs: number;
  readonly now: number;
};

/**
 * A node that has not asked for Status for this long is away: its apiserver's write state ends
 * three minutes after the last. (docs/kms-contract.md section 1.4.)
 */
const awayMs = 5 * 60_000;

function seconds(ms: number): string {
  return `${Math.floor(ms / 1000)} s`;
}

function keyProblems({ state, before }: Retirement): readonly string[] {
  if (state.minEncryption === 0)
    return ["no version is promoted yet, so any of them may encrypt: claviger key promote makes the newest the one"];
  return before > state.minEncryption
    ? [`version ${state.minEncryption} encrypts: it and what is newer cannot be retired`]
    : [];
}

function objects(count: number, cluster: string): string {
  return `${count} object${count === 1 ? "" : "s"} of cluster ${cluster}`;
}

function heldProblem(use: CountedUse, { record: { name } }: Counted, { names, state }: Retirement): string {
  const ref = names.find((one) => use.backend === one.backend && use.key === keyPath(one));
  const what = objects(use.count, name);
  if (ref !== undefined && isSameIncarnation(use, ref, state) === false)
    return `${what} need version ${use.version} of a key that is gone: ${use.key} was deleted or restored since, and is another one now. They cannot be read: restore that key, or delete them: ${use.examples.join(", ")}`;
  return `${what} still need version ${use.version}, e.g. ${use.examples[0]}: rewrite them first (kubectl get secrets -A -o json | kubectl replace -f -)`;
}

function foreignProblem({ provider, version, count, examples }: ForeignUse, { record: { name } }: Counted): string {
  const what = `${objects(count, name)} that KMS plugin ${provider} encrypted`;
  return version === undefined
    ? `${what} do not tell which key they need, e.g. ${examples[0]}: rewrite them first, or, if that plugin uses another key, say --other-key ${provider}`
    : `${what} need version ${version} of a Transit key, and maybe this one, e.g. ${examples[0]}: rewrite them first, or, if that plugin uses another key, say --other-key ${provider}`;
}

function usageProblems(counted: Counted, wanted: Retirement): readonly string[] {
  const { record, usage } = counted;
  const { names, before, otherKeys, backends } = wanted;
  if (usage === undefined)
    return [
      `cluster ${record.name} uses this key too, and none of its etcds was counted: add --etcd ${record.name}=URL`,
    ];
  const own = usage.uses.filter(({ clusterUid }) => clusterUid === record.uid);
  const held = usage.uses.filter(
    (use) => use.version < before && names.some((name) => use.backend === name.backend && use.key === keyPath(name)),
  );
  const strange = usage.uses.filter(({ backend }) => !backends.has(backend) && !otherKeys.has(backend));
  const foreign = usage.foreign.filter(
    ({ provider, version }) => !otherKeys.has(provider) && (version === undefined || version < before),
  );
  return [
    ...(own.length === 0
      ? [
          `the etcd of cluster ${record.name} holds no object that Claviger encrypted for it: is it the right etcd, and the right prefix?`,
        ]
      : []),
    ...held.map((use) => heldProblem(use, counted, wanted)),
    ...strange.map(
      ({ count, backend, key, examples }) =>
        `${objects(count, record.name)} need ${backend}: ${key}, and this configuration has no backend ${backend}, e.g. ${examples[0]}: if that is another key, say --other-key ${backend}`,
    ),
    ...foreign.map((use) => foreignProblem(use, counted)),
    ...(usage.damaged.length > 0
      ? [
          `${usage.damaged.length} values of cluster ${record.name} cannot be read, e.g. ${usage.damaged[0]}: which key they need cannot be told`,
        ]
      : []),
    ...(counted.isFromSnapshot && !wanted.areSnapshotsChecked
      ? [
          `cluster ${record.name} was counted in a snapshot, which lacks what was written after it: take it five minutes after every node shows the new key_id, and say --snapshots-checked`,
        ]
      : []),
  ];
}

function nodeProblems(
  { record, keyId, nodes }: Counted,
  { quietMs, now, state: { minEncryption } }: Retirement,
): readonly string[] {
  if (nodes.kind === "checked") return [];
  if (keyId === undefined && minEncryption === 0) return [];
  if (keyId === undefined)
    return [
      `cluster ${record.name} has moved to another key: see for yourself that each of its nodes shows the new key_id, and say --nodes-checked`,
    ];
  if (nodes.kind === "blind")
    return [
      `without Redis it is not known which key_id the nodes of cluster ${record.name} show, nor whether one still decrypts under an earlier one: see for yourself that each of its nodes shows the new key_id and has for five minutes, and say --nodes-checked`,
    ];
  if (nodes.kind === "unknown")
    return [
      `how many control-plane nodes has cluster ${record.name}? Say --nodes ${record.name}=N, or see for yourself and say --nodes-checked`,
    ];
  const shown = nodes.entries.filter(({ event, at }) => event === "reported" && now - at < awayMs);
  const names = [...new Set(shown.map(({ node }) => node))];
  const late = names.flatMap((node) => {
    // Of all times: an earlier key_id that drops out of sight must not change the figure.
    const [newest, ...earlier] = nodes.entries
      .filter((entry) => entry.event === "reported" && entry.node === node)
      .toSorted((a, b) => b.at - a.at);
    if (newest?.keyId !== keyId) return [`node ${node} of ${record.name} has not been shown the new key_id yet`];
    const last = Math.max(...earlier.filter((entry) => entry.keyId !== keyId).map(({ at }) => at));
    const quiet = now - Math.max(newest.since, last);
    return quiet < quietMs
      ? [
          `node ${node} of ${record.name} has had the new key_id for ${seconds(quiet)} only: wait until it is ${seconds(quietMs)}`,
        ]
      : [];
  });
  return [
    ...(names.length < nodes.expected
      ? [
          `${names.length} of ${nodes.expected} nodes of ${record.name} have asked for Status in the last ${seconds(awayMs)}: wait until all have (each does once a minute)`,
        ]
      : []),
    ...late,
  ];
}

/** Counts whatever the operator has looked at: a node that decrypts now needs the version now. */
function decryptProblems({ record, retiring, nodes }: Counted, { quietMs, now }: Retirement): readonly string[] {
  return nodes.kind === "unknown" || nodes.kind === "blind"
    ? []
    : nodes.entries
        .filter(({ event, keyId, at }) => event === "decrypted" && retiring.has(keyId) && now - at < quietMs)
        .map(
          ({ node, at }) =>
            `node ${node} of ${record.name} decrypted under an earlier key_id ${seconds(now - at)} ago: something still needs it`,
        );
}

/** Every reason against it; empty when none is known. */
export function reasonsAgainst(wanted: Retirement): readonly string[] {
  return [
    ...keyProblems(wanted),
    ...wanted.clusters.flatMap((counted) => [
      ...usageProblems(counted, wanted),
      ...nodeProblems(counted, wanted),
      ...decryptProblems(counted, wanted),
    ]),
  ].map(printable);
}
