// What `claviger key status` says of a cluster's key.
import { createHash } from "node:crypto";
import type { KeyState } from "@claviger/gateway-core/src/backend/port.ts";
import { deriveKeyId, keyPath } from "@claviger/gateway-core/src/key/key-id.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { keyOf } from "@claviger/gateway-core/src/registry/edit/text.ts";
import { formatTable } from "@claviger/proto/runtime/table.ts";

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

export type KeyReport = {
  readonly cluster: string;
  readonly state: ClusterRecord["state"];
  readonly rotation: ClusterRecord["rotation"];
  readonly backend: string;
  /** `mount/name`, after the namespace where there is one. */
  readonly key: string;
  readonly latest: number;
  /** 0: none yet. */
  readonly promoted: number;
  readonly minDecryption: number;
  /**
   * What apiservers see in Status once every gateway has read the key; absent while nothing is
   * promoted.
   */
  readonly keyId?: string;
  /** The same as the metrics of kube-apiserver show it (label key_id_hash). */
  readonly keyIdHash?: string;
  /** Versions of which the backend tells nothing any more; min_decryption_version is above them. */
  readonly retired?: { readonly from: number; readonly to: number };
  readonly versions: readonly { readonly version: number; readonly createdAt: string }[];
  /** Absent where neither a gateway nor a configuration says it. */
  readonly refresh?: KeyRefresh;
};

/** As kube-apiserver hashes it for its metrics. (docs/kms-contract.md section 1.) */
function keyIdHash(keyId: string): string {
  return `sha256:${createHash("sha256").update(keyId).digest("hex")}`;
}

/** Transit leaves retired versions out. */
function hiddenVersions({ versions, minDecryption }: KeyState): KeyReport["retired"] {
  const to = Math.min(minDecryption, ...versions.keys()) - 1;
  return to < 1 ? undefined : { from: 1, to };
}

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

/** What is known of a cluster's key. */
export function reportOf(record: ClusterRecord, state: KeyState, refresh?: KeyRefresh): KeyReport {
  const ref = keyOf(record);
  const createdAt = state.versions.get(state.minEncryption);
  const keyId =
    createdAt === undefined ? undefined : deriveKeyId(record.uid, [{ ref, version: state.minEncryption, createdAt }]);
  const retired = hiddenVersions(state);
  return {
    cluster: record.name,
    state: record.state,
    rotation: record.rotation,
    backend: ref.backend,
    key: keyPath(ref),
    latest: state.latest,
    promoted: state.minEncryption,
    minDecryption: state.minDecryption,
    ...(keyId !== undefined && { keyId, keyIdHash: keyIdHash(keyId) }),
    ...(retired !== undefined && { retired }),
    versions: [...state.versions].map(([version, at]) => ({ version, createdAt: new Date(at * 1000).toISOString() })),
    ...(refresh !== undefined && { refresh }),
  };
}

function roleOf(report: KeyReport, version: number): string {
  if (version === report.promoted) return "encrypts";
  if (version < report.minDecryption) return "retired";
  return version > report.promoted ? "waits for promotion" : "decrypts";
}

function refreshText(refresh: KeyRefresh | undefined): string {
  if (refresh === undefined) return "not known: no gateway was heard (its metric claviger_gateway_key_refresh says it)";
  const { everySeconds, seenWithinSeconds, gateways } = refresh;
  return gateways.length === 0
    ? `every ${everySeconds} s by the configuration, less often with many keys; no gateway was heard. A rotation behind Claviger's back is seen within ${seenWithinSeconds} s at best`
    : `every ${everySeconds} s by the word of ${gateways.join(", ")}; a rotation behind Claviger's back is seen within ${seenWithinSeconds} s`;
}

/** The same for people. */
export function formatReport(report: KeyReport): string {
  const { retired } = report;
  return [
    `cluster   ${report.cluster} (${report.state}, rotation ${report.rotation})`,
    `key       ${report.backend}: ${report.key}`,
    `key_id    ${report.keyId ?? `none: no version is promoted yet; a gateway does it at first use, or: claviger key promote ${report.cluster}`}`,
    ...(report.keyIdHash === undefined
      ? []
      : [`hash      ${report.keyIdHash} (key_id_hash in kube-apiserver's metrics)`]),
    `read      ${refreshText(report.refresh)}`,
    "",
    formatTable(
      ["VERSION", "CREATED", ""],
      [
        ...(retired === undefined
          ? []
          : [[retired.from === retired.to ? `${retired.to}` : `${retired.from} to ${retired.to}`, "", "retired"]]),
        ...report.versions.map(({ version, createdAt }) => [String(version), createdAt, roleOf(report, version)]),
      ],
    ),
  ].join("\n");
}
