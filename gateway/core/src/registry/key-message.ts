// A cluster's key as the API has it. (docs/architecture.md #control-plane.)
import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type ClusterKeys, ClusterKeysSchema } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import type { KeyRef, KeyState } from "../backend/port.ts";
import { deriveKeyId } from "../key/key-id.ts";
import type { ClusterRecord } from "./record.ts";

const daySeconds = 86_400;

/** As kube-apiserver hashes it for its metrics. (docs/kms-contract.md section 1.) */
function keyIdHash(keyId: string): string {
  return `sha256:${createHash("sha256").update(keyId).digest("hex")}`;
}

function versionState(version: number, { minEncryption, minDecryption }: KeyState): string {
  if (version === minEncryption) return "encrypts";
  if (version < minDecryption) return "retired";
  return version > minEncryption ? "waits" : "decrypts";
}

function recordFields({ name, state, rotation, keys: [ref] }: ClusterRecord) {
  return {
    cluster: name,
    clusterState: state,
    rotation,
    ...(ref !== undefined && { key: { namespace: "", ...ref } }),
  };
}

/** The keys of a cluster of which nothing is known but its record. @param problem why */
export function unknownKeys(record: ClusterRecord, problem: string): ClusterKeys {
  return create(ClusterKeysSchema, { ...recordFields(record), problem });
}

function warningOf(name: string, version: number, age: number, maxAgeMs: number | undefined): string {
  if (maxAgeMs === undefined || version === 0 || age * 1000 <= maxAgeMs) return "";
  const days = (seconds: number): string => `${Math.floor(seconds / daySeconds)} days`;
  return `version ${version} encrypts and is ${days(age)} old; the policy allows ${days(maxAgeMs / 1000)}: claviger key rotate ${name}`;
}

/**
 * @param ref the key that encrypts
 * @param now Unix milliseconds
 * @param maxAgeMs how old the version that encrypts may be without a warning
 */
export function keysMessage(
  record: ClusterRecord,
  ref: KeyRef,
  state: KeyState,
  { now, maxAgeMs }: { readonly now: number; readonly maxAgeMs?: number | undefined },
): ClusterKeys {
  const { latest, minEncryption: promoted, minDecryption, versions } = state;
  const ageOf = (createdAt: number): number => Math.max(0, Math.floor(now / 1000) - createdAt);
  const promotedAt = versions.get(promoted);
  const keyId =
    promotedAt === undefined ? "" : deriveKeyId(record.uid, [{ ref, version: promoted, createdAt: promotedAt }]);
  return create(ClusterKeysSchema, {
    ...recordFields(record),
    latest,
    promoted,
    minDecryptionVersion: minDecryption,
    keyId,
    keyIdHash: keyId === "" ? "" : keyIdHash(keyId),
    warning: promotedAt === undefined ? "" : warningOf(record.name, promoted, ageOf(promotedAt), maxAgeMs),
    versions: [...versions]
      .toSorted(([a], [b]) => a - b)
      .map(([version, createdAt]) => ({
        version,
        createdAt: { seconds: BigInt(createdAt), nanos: 0 },
        ageSeconds: ageOf(createdAt),
        state: versionState(version, state),
      })),
  });
}
