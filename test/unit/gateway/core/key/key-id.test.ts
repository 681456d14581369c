import assert from "node:assert/strict";
import { test } from "node:test";
import {
  associatedData,
  deriveKeyId,
  keyPath,
  type PromotedKey,
  refId,
} from "@claviger/gateway-core/src/key/key-id.ts";
import { backendName, clusterUid, keyId, keyName, mountPath } from "@claviger/proto/wire/names.ts";

const uid = clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RA");
const other = clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RB");
function key(
  change: Partial<{
    backend: string;
    mount: string;
    key: string;
    version: number;
    createdAt: number;
    namespace: string;
  }> = {},
): PromotedKey {
  return {
    ref: {
      backend: backendName.parse(change.backend ?? "main"),
      mount: mountPath.parse(change.mount ?? "transit"),
      key: keyName.parse(change.key ?? "prod"),
      ...(change.namespace !== undefined && { namespace: mountPath.parse(change.namespace) }),
    },
    version: change.version ?? 1,
    createdAt: change.createdAt ?? 1_700_000_000,
  };
}

test("the same state gives the same key_id, which Kubernetes takes", () => {
  assert.equal(deriveKeyId(uid, [key()]), deriveKeyId(uid, [key()]));
  assert.ok(keyId.is(deriveKeyId(uid, [key()])));
});

test("anything that differs gives another key_id", () => {
  const ids = [
    deriveKeyId(uid, [key()]),
    deriveKeyId(other, [key()]),
    deriveKeyId(uid, [key({ backend: "second" })]),
    deriveKeyId(uid, [key({ mount: "transit2" })]),
    deriveKeyId(uid, [key({ namespace: "team" })]),
    deriveKeyId(uid, [key({ key: "prod2" })]),
    deriveKeyId(uid, [key({ version: 2 })]),
    deriveKeyId(uid, [key({ createdAt: 1_700_000_001 })]),
    deriveKeyId(uid, [key(), key({ backend: "second" })]),
    deriveKeyId(uid, [key({ backend: "second" }), key()]),
  ];
  assert.equal(new Set(ids).size, ids.length);
});

test("associated data cannot be read in two ways", () => {
  const id = deriveKeyId(uid, [key()]);
  const data = [
    associatedData(uid, id, backendName.parse("ab")),
    associatedData(other, id, backendName.parse("ab")),
    associatedData(uid, deriveKeyId(other, [key()]), backendName.parse("ab")),
    associatedData(uid, id, backendName.parse("a")),
  ].map((bytes) => Buffer.from(bytes).toString("hex"));
  assert.equal(new Set(data).size, data.length);
});

test("the key_id and the associated data are what earlier releases derived", () => {
  // Changing either makes every stored Secret unreadable: this test guards the format, not the
  // code.
  assert.equal(deriveKeyId(uid, [key()]), "clv1.cjF-wtVjHpc29g2q3vuU30n1qQ40tOUyVUUl5n-JqvA");
  const text = Buffer.from(
    associatedData(uid, keyId.parse(`clv1.${"A".repeat(43)}`), backendName.parse("main")),
  ).toString("base64");
  assert.equal(
    text,
    "AAAAC2NsYXZpZ2VyL3YxAAAAGjAxSkQ5WjZYM1FLOFY1VDdXMk00TjZQOFJBAAAAMGNsdjEuQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQQAAAARtYWlu",
  );
});

test("a key has one path and one text, with its namespace where there is one", () => {
  const { ref } = key();
  assert.deepEqual([keyPath(ref), refId(ref)], ["transit/prod", "main:transit/prod"]);
  const within = key({ namespace: "team/a" }).ref;
  assert.deepEqual([keyPath(within), refId(within)], ["team/a/transit/prod", "main:team/a/transit/prod"]);
});
