// What was counted in etcd, as far as it decides whether versions of a key are still needed.
// (docs/architecture.md #rotation.)
import type { ClusterUid, KeyId } from "@claviger/proto/wire/names.ts";
import type { KeyRef, KeyState } from "../backend/port.ts";
import { deriveKeyId } from "../key/key-id.ts";

/** Some objects: how many, and the first of their etcd keys. */
export type Objects = { readonly count: number; readonly examples: readonly string[] };

/** Objects whose DEK is wrapped under one version of one key. */
export type CountedUse = Objects & {
  readonly clusterUid: ClusterUid;
  readonly backend: string;
  /** `mount/name`, see keyPath. */
  readonly key: string;
  readonly version: number;
  readonly keyId: KeyId;
};

/** Objects of another KMS plugin. */
export type ForeignUse = Objects & {
  readonly provider: string;
  /** Of a Transit key, whichever; undefined where the ciphertext does not tell. */
  readonly version: number | undefined;
};

export type CountedUsage = {
  readonly uses: readonly CountedUse[];
  readonly foreign: readonly ForeignUse[];
  /** The keys of values that begin like one of KMS and cannot be parsed: the first at least. */
  readonly damaged: ArrayLike<string>;
};

/**
 * Is the key that these objects need still the one that bears its name? Undefined: the key does not
 * tell, since the version is retired.
 */
export function isSameIncarnation(
  use: Pick<CountedUse, "version" | "clusterUid" | "keyId">,
  ref: KeyRef,
  { versions, minDecryption }: KeyState,
): boolean | undefined {
  if (use.version < minDecryption) return undefined;
  const createdAt = versions.get(use.version);
  if (createdAt === undefined) return false;
  return deriveKeyId(use.clusterUid, [{ ref, version: use.version, createdAt }]) === use.keyId;
}
