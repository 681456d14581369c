// May the versions of a key below one be retired? Every reason against it at once.
// (docs/architecture.md #rotation.)
import type { KeyRef, KeyState } from "@claviger/gateway-core/src/backend/port.ts";
import { keyPath } from "@claviger/gateway-core/src/key/key-id.ts";
import type { Observation } from "@claviger/gateway-core/src/redis/observations.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { Usage } from "./count.ts";

/** A cluster that uses the key, and what is known of it. */
export type Counted = {
  readonly record: ClusterRecord;
  /** What its etcds hold; undefined when none was named. */
  readonly usage: Usage | undefined;
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
  | { readonly kind: "observations"; readonly entries: readonly Observation[]; readonly expected: number };

export type Retirement = {
  /** Every name that the clusters have for the key: an envelope carries the one of its day. */
  readonly names: readonly KeyRef[];
  readonly state: KeyState;
  /** Versions below this one are to be retired. */
  readonly before: number;
  readonly clusters: readonly Counted[];
  readonly quietMs: number;
  readonly now: number;
};

/**
 * A node that has not asked for Status for this long is away: its apiserver's write state ends
 * three minutes after the last. (docs/kms-contract.md section 1.4.)
 */
const awayMs = 5 * 60_000;

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}

function keyProblems({ state, before }: Retirement): readonly string[] {
  if (before > state.minEncryption)
    return [`version ${state.minEncryption} encrypts: it and what is newer cannot be retired`];
  if (before <= state.minDecryption) return [`the versions below ${state.minDecryption} are retired already`];
  return [];
}

function usageProblems({ record, usage }: Counted, { names, before }: Retirement): readonly string[] {
  if (usage === undefined)
    return [
      `cluster ${record.name} uses this key too, and none of its etcds was counted: add --etcd ${record.name}=URL`,
    ];
  const own = usage.uses.filter(({ clusterUid }) => clusterUid === record.uid);
  const held = usage.uses.filter(
    (use) => use.version < before && names.some((name) => use.backend === name.backend && use.key === keyPath(name)),
  );
  return [
    ...(own.length === 0
      ? [
          `the etcd of cluster ${record.name} holds no object that Claviger encrypted for it: is it the right etcd, and the right prefix?`,
        ]
      : []),
    ...held.map(
      ({ version, count, example }) =>
        `${count} object${count === 1 ? "" : "s"} of cluster ${record.name} still need version ${version}, e.g. ${example}: rewrite them first (kubectl get secrets -A -o json | kubectl replace -f -)`,
    ),
    ...(usage.damaged.length > 0
      ? [
          `${usage.damaged.length} values of cluster ${record.name} cannot be read, e.g. ${usage.damaged[0]}: which key they need cannot be told`,
        ]
      : []),
  ];
}

function nodeProblems({ record, keyId, nodes }: Counted, { quietMs, now }: Retirement): readonly string[] {
  if (nodes.kind === "checked") return [];
  if (keyId === undefined)
    return [
      `cluster ${record.name} has moved to another key: see for yourself that each of its nodes shows the new key_id, and say --nodes-checked`,
    ];
  if (nodes.kind === "unknown")
    return [
      `how many control-plane nodes has cluster ${record.name}? Say --nodes ${record.name}=N (needs Redis), or see for yourself and say --nodes-checked`,
    ];
  const shown = nodes.entries.filter(({ event, at }) => event === "reported" && now - at < awayMs);
  const names = [...new Set(shown.map(({ node }) => node))];
  const of = (node: string): readonly Observation[] => shown.filter((entry) => entry.node === node);
  const late = names.flatMap((node) => {
    const newest = of(node).toSorted((a, b) => b.at - a.at)[0];
    if (newest?.keyId !== keyId) return [`node ${node} of ${record.name} has not been shown the new key_id yet`];
    const old = of(node).find((entry) => entry.keyId !== keyId && now - entry.at < quietMs);
    const quiet = old === undefined ? now - newest.since : now - old.at;
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
  return nodes.kind === "unknown"
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
  ];
}
