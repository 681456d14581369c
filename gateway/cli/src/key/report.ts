// What `claviger key status` says of a cluster's key, to people. Programs get the API's JSON.
import type { ClusterKeys, KeyCount, KeyVersion } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { formatTable, printable } from "@claviger/proto/runtime/table.ts";
import { ageText, type Column, timeText } from "../output.ts";

/** How often gateways read the key from its backend. */
export type KeyRefresh = {
  /** Seconds between two reads. */
  readonly everySeconds: number;
  /**
   * Seconds after which a rotation that neither Claviger nor its commands made is shown by every shim at
   * the latest, while the cluster asks.
   */
  readonly seenWithinSeconds: number;
  /** Second listeners of the gateways that said so; none: it is the least, by the configuration. */
  readonly gateways: readonly string[];
};

/** Beside the interval: the canary, and the news to the other gateways and to the shims. */
const propagationSeconds = 1;

/**
 * @param heard by the gateways' own word
 * @param leastMs the setting `keys.refresh`, milliseconds: with many keys in use they are read less often
 */
export function refreshOf(
  heard: { readonly seconds: number; readonly gateways: readonly string[] } | undefined,
  leastMs: number | undefined,
): KeyRefresh | undefined {
  const seconds = heard?.seconds ?? (leastMs === undefined ? undefined : leastMs / 1000);
  if (seconds === undefined) return undefined;
  const everySeconds = Math.round(seconds * 10) / 10;
  return { everySeconds, seenWithinSeconds: everySeconds + propagationSeconds, gateways: heard?.gateways ?? [] };
}

const states: Readonly<Record<string, string>> = { waits: "waits for promotion" };

/** `NAMESPACE/MOUNT/KEY` of a backend. */
export function keyOfText({ key }: ClusterKeys): string {
  if (key === undefined) return "?";
  return `${key.backend}: ${[...(key.namespace === "" ? [] : [key.namespace]), key.mount, key.key].join("/")}`;
}

/** Transit leaves retired versions out. */
function hiddenText({ versions, minDecryptionVersion }: ClusterKeys): readonly string[] {
  const to = Math.min(minDecryptionVersion, ...versions.map(({ version }) => version)) - 1;
  if (to < 1) return [];
  return [to === 1 ? "1" : `1 to ${to}`];
}

function refreshText(refresh: KeyRefresh | undefined): string {
  if (refresh === undefined)
    return "not known: no gateway was heard (its metric claviger_gateway_key_refresh_interval_seconds says it)";
  const { everySeconds, seenWithinSeconds, gateways } = refresh;
  return gateways.length === 0
    ? `every ${everySeconds} s by the configuration, less often with many keys; no gateway was heard. A rotation behind Claviger's back is seen within ${seenWithinSeconds} s at best`
    : `every ${everySeconds} s by the word of ${gateways.join(", ")}; a rotation behind Claviger's back is seen within ${seenWithinSeconds} s`;
}

/** How the objects of the table were counted, and what else was. */
function countText({ ageSeconds, countedBy, fromSnapshot, ...rest }: KeyCount): string {
  const { otherObjects, unreadableObjects, damaged } = rest;
  const others = [
    ...(fromSnapshot ? ["in part in a snapshot"] : []),
    ...(otherObjects === 0 ? [] : [`${otherObjects} objects of other keys`]),
    ...(unreadableObjects === 0 ? [] : [`${unreadableObjects} OBJECTS OF RETIRED VERSIONS OR OF A LOST KEY`]),
    ...(damaged === 0 ? [] : [`${damaged} damaged values`]),
  ];
  return printable([`${ageText(Number(ageSeconds))} ago by ${countedBy}`, ...others].join("; "));
}

/** Such as `decrypt fails (gateway-1:8443)`. */
function failingTexts(failingAt: Readonly<Record<string, string>>): readonly string[] {
  const whats = new Set(Object.values(failingAt));
  return [...whats].map((what) => {
    const names = Object.keys(failingAt).filter((name) => failingAt[name] === what);
    return printable(`${what} FAILS (${names.join(", ")})`);
  });
}

/** The least that is to be known of a key in a list. */
function remarksOf({ problem, warning, versions }: ClusterKeys): string {
  if (problem !== "") return problem;
  const failing = versions.flatMap(({ version, failingAt }) =>
    failingTexts(failingAt).map((text) => `version ${version}: ${text}`),
  );
  return [...failing, ...(warning === "" ? [] : [warning])].join("; ");
}

/**
 * One cluster's key.
 * @param read how often gateways read it: undefined where none said it, absent where none was asked
 */
export function formatKeys(keys: ClusterKeys, ...read: readonly [refresh?: KeyRefresh | undefined]): string {
  const { cluster, clusterState, rotation, keyId, keyIdHash, versions, warning, counted } = keys;
  return [
    `cluster   ${cluster} (${clusterState}, rotation ${rotation})`,
    `key       ${keyOfText(keys)}`,
    `key_id    ${keyId === "" ? `none: no version is promoted yet; a gateway does it at first use, or: claviger key promote ${cluster}` : keyId}`,
    ...(keyIdHash === "" ? [] : [`hash      ${keyIdHash} (key_id_hash in kube-apiserver's metrics)`]),
    ...(read.length === 0 ? [] : [`read      ${refreshText(read[0])}`]),
    ...(counted === undefined ? [] : [`counted   ${countText(counted)}`]),
    ...(warning === "" ? [] : [`WARNING   ${warning}`]),
    "",
    formatTable(
      ["VERSION", "CREATED", "AGE", counted === undefined ? "" : "OBJECTS", ""],
      [
        ...hiddenText(keys).map((which) => [which, "", "", "", "retired"]),
        ...versions.map(({ version, createdAt, ageSeconds, state, objects, failingAt }) => [
          String(version),
          timeText(createdAt),
          ageText(ageSeconds),
          objects === undefined ? "" : String(objects),
          [states[state] ?? state, ...failingTexts(failingAt)].join(", "),
        ]),
      ],
    ),
  ].join("\n");
}

function promotedOf({ versions, promoted }: ClusterKeys): KeyVersion | undefined {
  return versions.find(({ version }) => version === promoted);
}

/** Of a list of many clusters' keys. */
export const keyColumns: readonly Column<ClusterKeys>[] = [
  { head: "CLUSTER", cell: ({ cluster }) => cluster },
  { head: "KEY", cell: keyOfText },
  { head: "ROTATION", cell: ({ rotation }) => rotation },
  { head: "ENCRYPTS", cell: ({ promoted }) => (promoted === 0 ? "none" : String(promoted)) },
  {
    head: "AGE",
    cell(keys) {
      const version = promotedOf(keys);
      return version === undefined ? "" : ageText(version.ageSeconds);
    },
  },
  { head: "LATEST", cell: ({ latest }) => (latest === 0 ? "" : String(latest)) },
  { head: "DECRYPTS FROM", cell: ({ minDecryptionVersion: from }) => (from === 0 ? "" : String(from)) },
  {
    head: "OBJECTS",
    cell: ({ counted, versions }) =>
      counted === undefined ? "" : String(versions.reduce((sum, { objects = 0 }) => sum + objects, 0)),
  },
  {
    head: "COUNTED",
    cell: ({ counted }) => (counted === undefined ? "" : `${ageText(Number(counted.ageSeconds))} ago`),
  },
  { head: "REMARKS", cell: remarksOf },
];
