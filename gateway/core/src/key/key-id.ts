// What names a promoted key (key_id) and what binds a ciphertext to its cluster (associated data).
// Derived, never stored. (docs/architecture.md #envelope.)
import { createHash } from "node:crypto";
import type { BackendName, ClusterUid, KeyId } from "@claviger/proto/wire/names.ts";
import type { KeyRef } from "../backend/port.ts";

/** One key of a cluster at the version that encrypts. */
export type PromotedKey = {
  readonly ref: KeyRef;
  /** 1 or more */
  readonly version: number;
  /** Unix seconds, as the backend tells it. Makes a recreated or restored key another key. */
  readonly createdAt: number;
};

/**
 * `mount/name`, after the namespace where there is one: what an envelope carries to say which key
 * of its backend.
 */
export function keyPath(ref: KeyRef): string {
  return [...(ref.namespace === undefined ? [] : [ref.namespace]), ref.mount, ref.key].join("/");
}

/** One text for one key: for maps, Redis and logs. */
export function refId(ref: KeyRef): string {
  return `${ref.backend}:${keyPath(ref)}`;
}

/** Each part behind its own length (4 bytes, big endian): no two lists give the same bytes. */
export function lengthPrefixed(parts: readonly string[]): Buffer {
  return Buffer.concat(
    parts.flatMap((part) => {
      const bytes = Buffer.from(part);
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      return [length, bytes];
    }),
  );
}

/**
 * The key_id of a cluster whose keys stand at these versions: every replica derives the same one,
 * and no other state ever gives it again.
 */
export function deriveKeyId(uid: ClusterUid, keys: readonly PromotedKey[]): KeyId {
  const parts = keys.flatMap(({ ref, version, createdAt }) => [
    ref.backend,
    ref.namespace === undefined ? ref.mount : `${ref.namespace}/${ref.mount}`,
    ref.key,
    String(version),
    String(createdAt),
  ]);
  return `clv1.${createHash("sha256")
    .update(lengthPrefixed([uid, ...parts]))
    .digest("base64url")}` as KeyId;
}

/**
 * What Transit authenticates with every ciphertext: it refuses one of another cluster, or under
 * another key_id, by itself.
 */
export function associatedData(uid: ClusterUid, id: KeyId, backend: BackendName): Uint8Array {
  return lengthPrefixed(["claviger/v1", uid, id, backend]);
}
