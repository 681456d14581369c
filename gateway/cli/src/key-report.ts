// What `claviger key status` says of a cluster's key.
import { createHash } from "node:crypto";
import type { KeyState } from "@claviger/gateway-core/src/backend/port.ts";
import { deriveKeyId, keyPath } from "@claviger/gateway-core/src/key/key-id.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { keyOf } from "./registry-edit.ts";
import { formatTable } from "@claviger/proto/runtime/table.ts";

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

/** What is known of a cluster's key. */
export function reportOf(record: ClusterRecord, state: KeyState): KeyReport {
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
  };
}

function roleOf(report: KeyReport, version: number): string {
  if (version === report.promoted) return "encrypts";
  if (version < report.minDecryption) return "retired";
  return version > report.promoted ? "waits for promotion" : "decrypts";
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
