// What holds of every key_id, and of the length-prefixed lists that it and the associated data are made of.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  associatedData,
  deriveKeyId,
  lengthPrefixed,
  type PromotedKey,
} from "@claviger/gateway-core/src/key/key-id.ts";
import { backendName, type ClusterUid, clusterUid, keyId, keyName, mountPath } from "@claviger/proto/wire/names.ts";
import { limits } from "@claviger/proto/wire/protocol.ts";
import * as fc from "fast-check";

/** Short texts of few letters: what is put together wrongly then often looks the same. */
const few = (pattern: RegExp) => fc.stringMatching(pattern);
const uids = fc.constantFrom("01JD9Z6X3QK8V5T7W2M4N6P8RA", "01JD9Z6X3QK8V5T7W2M4N6P8RB").map(clusterUid.parse);
const mounts = few(/^[ab](\/[ab]){0,2}$/).map(mountPath.parse);
const backends = few(/^[ab1]{1,2}$/).map(backendName.parse);
const promoted = fc.record({
  ref: fc.record(
    { backend: backends, namespace: mounts, mount: mounts, key: few(/^[ab1]{1,2}$/).map(keyName.parse) },
    { requiredKeys: ["backend", "mount", "key"] },
  ),
  version: fc.integer({ min: 1, max: 11 }),
  createdAt: fc.integer({ min: 1, max: 11 }),
});
const states = fc.tuple(uids, fc.array(promoted, { minLength: 1, maxLength: 3 }));

/** Reads a length-prefixed list back. */
function partsOf(bytes: Buffer): readonly string[] {
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    assert.ok(at + 4 + length <= bytes.length);
    parts.push(bytes.toString("utf8", at + 4, at + 4 + length));
    at += 4 + length;
  }
  return parts;
}

test("a length-prefixed list can be read back, so no two lists give the same bytes", () => {
  const lists = fc.array(fc.string({ unit: "grapheme" }));
  fc.assert(
    fc.property(lists, (parts) => {
      assert.deepEqual(partsOf(lengthPrefixed(parts)), parts);
    }),
  );
  // Lists whose plain concatenations are alike.
  const alike = fc.array(fc.constantFrom("", "a", "aa", "\0", "\0\0\0\u0001"), { maxLength: 4 });
  fc.assert(
    fc.property(alike, alike, (one, other) => {
      assert.equal(lengthPrefixed(one).equals(lengthPrefixed(other)), JSON.stringify(one) === JSON.stringify(other));
    }),
    { numRuns: 2000 },
  );
});

/** What tells one state from another: a namespace and a mount are one path. */
function pathsOf([uid, keys]: readonly [ClusterUid, readonly PromotedKey[]]): string {
  return JSON.stringify([
    uid,
    keys.map(({ ref: { backend, namespace, mount, key }, version, createdAt }) => [
      backend,
      namespace === undefined ? mount : `${namespace}/${mount}`,
      key,
      version,
      createdAt,
    ]),
  ]);
}

test("a key_id is one that Kubernetes takes, the same for the same state and another for any other", () => {
  const seen = new Map<string, string>();
  fc.assert(
    fc.property(states, (state) => {
      const id = deriveKeyId(...state);
      assert.ok(keyId.is(id) && Buffer.byteLength(id) <= limits.keyId);
      assert.equal(deriveKeyId(...state), id);
      const path = pathsOf(state);
      assert.equal(seen.get(id) ?? path, path);
      seen.set(id, path);
    }),
    { numRuns: 3000 },
  );
  assert.equal(new Set(seen.values()).size, seen.size, "one state, one key_id");
});

test("associated data is the list of what it binds, and of nothing else", () => {
  fc.assert(
    fc.property(states, backends, (state, backend) => {
      const id = deriveKeyId(...state);
      const data = Buffer.from(associatedData(state[0], id, backend));
      assert.deepEqual(partsOf(data), ["claviger/v1", state[0], id, backend]);
    }),
  );
});
