import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { EnvelopeSchema } from "@claviger/proto/gen/claviger/envelope_pb.ts";
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

/** The reason, and the cause for the log. */
function refusalOf(run: () => unknown): readonly [string, string] {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof KmsError && error.cause instanceof Error, String(error));
    return [error.reason, error.cause.message];
  }
  return ["no refusal", ""];
}

/** As long as that, with two wraps of which the first one's key is stretched. */
function ofLength(length: number) {
  const envelope = (key: string) => ({
    clusterUid: uid,
    keyId: id,
    wraps: [{ ...wrap("main", key, 32), ciphertext: Buffer.alloc(400) }, wrap("main", "k".repeat(200), 32)],
  });
  const least = encodeEnvelope(envelope("k".repeat(128))).length;
  return envelope("k".repeat(128 + length - least));
}

test("an envelope may be exactly as long as Kubernetes takes, and no byte longer", () => {
  const longest = encodeEnvelope(ofLength(limits.ciphertext));
  assert.equal(longest.length, limits.ciphertext);
  assert.equal(decodeEnvelope(longest).wraps.length, 2);
  const tooLong = ["request_malformed", `envelope of ${limits.ciphertext + 1} bytes`];
  assert.deepEqual(
    refusalOf(() => encodeEnvelope(ofLength(limits.ciphertext + 1))),
    tooLong,
  );
  assert.deepEqual(
    refusalOf(() => decodeEnvelope(Buffer.concat([longest, Buffer.from([0])]))),
    ["ciphertext_invalid", "not an envelope of ours"],
  );
});

test("what a strict writer would not have written is refused, each for its own cause", () => {
  const good = { clusterUid: uid, keyId: id, wraps: [wrap("main", "transit/prod-eu", 32)] };
  const [one] = good.wraps;
  assert.ok(one !== undefined);
  const incomplete = ["ciphertext_invalid", "an envelope that is incomplete"];
  const incompleteWrap = ["ciphertext_invalid", "a wrap that is incomplete"];
  const raw = (message: object): Uint8Array =>
    Buffer.concat([Buffer.from("clv1"), toBinary(EnvelopeSchema, create(EnvelopeSchema, message))]);
  const table: readonly (readonly [bytes: Uint8Array, refusal: readonly string[]])[] = [
    [Buffer.from("clv2"), ["ciphertext_invalid", "not an envelope of ours"]],
    [Buffer.concat([Buffer.from("clv2"), raw(good).subarray(4)]), ["ciphertext_invalid", "not an envelope of ours"]],
    [
      Buffer.concat([Buffer.from("clv1"), Buffer.from([0xff])]),
      ["ciphertext_invalid", "an envelope that does not parse"],
    ],
    [raw({ ...good, clusterUid: "x" }), incomplete],
    [raw({ ...good, keyId: "x" }), incomplete],
    [raw({ ...good, wraps: [] }), incomplete],
    [raw({ ...good, wraps: [{ ...one, backend: "" }] }), incompleteWrap],
    [raw({ ...good, wraps: [{ ...one, version: 0 }] }), incompleteWrap],
    [raw({ ...good, wraps: [{ ...one, ciphertext: Buffer.alloc(0) }] }), incompleteWrap],
  ];
  for (const [bytes, refusal] of table)
    assert.deepEqual(
      refusalOf(() => decodeEnvelope(bytes)),
      refusal,
    );
  const least = decodeEnvelope(raw({ ...good, wraps: [{ ...one, version: 1, ciphertext: Buffer.alloc(1) }] }));
  assert.deepEqual([least.wraps[0]?.version, least.wraps[0]?.ciphertext.length], [1, 1]);
});
