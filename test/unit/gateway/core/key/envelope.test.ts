import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { backendName, clusterUid, keyId } from "@claviger/proto/wire/names.ts";
import { limits } from "@claviger/proto/wire/protocol.ts";
import { decodeEnvelope, encodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";

const uid = clusterUid.parse("01JD9Z6X3QK8V5T7W2M4N6P8RA");
const id = keyId.parse(`clv1.${"a".repeat(43)}`);
function wrap(backend: string, key: string, plaintextBytes: number) {
  return {
    backend: backendName.parse(backend),
    key,
    version: 4_294_967_295,
    ciphertext: randomBytes(12 + plaintextBytes + 16),
  };
}
function isInvalid(error: unknown): boolean {
  return error instanceof KmsError && error.reason === "ciphertext_invalid";
}

test("an envelope comes back as it was written", () => {
  const envelope = { clusterUid: uid, keyId: id, wraps: [wrap("main", "transit/prod-eu", 32)] };
  assert.deepEqual(
    JSON.stringify(decodeEnvelope(encodeEnvelope(envelope))),
    JSON.stringify({
      ...envelope,
      wraps: envelope.wraps.map((one) => ({ ...one, ciphertext: Buffer.from(one.ciphertext) })),
    }),
  );
});

test("two wraps of the longest names and plaintext stay within what Kubernetes takes", () => {
  const longest = wrap("b".repeat(63), `${"m".repeat(100)}/${"k".repeat(128)}`, limits.plaintext);
  const bytes = encodeEnvelope({ clusterUid: uid, keyId: id, wraps: [longest, longest] });
  assert.ok(bytes.length <= limits.ciphertext, `${bytes.length} bytes`);
});

test("an envelope that would be too long is refused, not cut", () => {
  const wraps = [1, 2, 3].map(() => wrap("b".repeat(63), "k".repeat(229), limits.plaintext));
  assert.throws(() => encodeEnvelope({ clusterUid: uid, keyId: id, wraps }), KmsError);
});

test("every single changed, missing or added byte gives another envelope or a refusal", () => {
  const bytes = Buffer.from(
    encodeEnvelope({ clusterUid: uid, keyId: id, wraps: [wrap("main", "transit/prod-eu", 32)] }),
  );
  const original = JSON.stringify(decodeEnvelope(bytes));
  for (let at = 0; at < bytes.length; at++) {
    for (const flip of [0x01, 0x80]) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ flip;
      try {
        assert.notEqual(JSON.stringify(decodeEnvelope(changed)), original);
      } catch (error) {
        assert.ok(isInvalid(error), String(error));
      }
    }
    assert.throws(() => decodeEnvelope(bytes.subarray(0, at)), isInvalid);
  }
  assert.throws(() => decodeEnvelope(Buffer.concat([bytes, Buffer.from([0])])), isInvalid);
  // An unknown field that a lenient parser would drop.
  assert.throws(() => decodeEnvelope(Buffer.concat([bytes, Buffer.from([0x78, 0x01])])), isInvalid);
});

test("random bytes are refused", () => {
  for (let i = 0; i < 500; i++) {
    assert.throws(() => decodeEnvelope(Buffer.concat([Buffer.from("clv1"), randomBytes(i)])), isInvalid);
    assert.throws(() => decodeEnvelope(randomBytes(i)), isInvalid);
  }
});
