// What holds of every envelope, and of every change to one.
import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeEnvelope, type Envelope, encodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { backendName, clusterUid, keyId } from "@claviger/proto/wire/names.ts";
import { limits } from "@claviger/proto/wire/protocol.ts";
import * as fc from "fast-check";

const uids = fc.stringMatching(/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/).map(clusterUid.parse);
const ids = fc.stringMatching(/^clv1\.[A-Za-z0-9_-]{43}$/).map(keyId.parse);
const backends = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/).map(backendName.parse);
const wraps = fc.record({
  backend: backends,
  // Any text: a codec knows no mounts.
  key: fc.string({ unit: "binary", maxLength: 40 }),
  version: fc.integer({ min: 1, max: 0xffff_ffff }),
  ciphertext: fc.uint8Array({ minLength: 1, maxLength: 100 }),
});
const envelopes = fc.record({
  clusterUid: uids,
  keyId: ids,
  wraps: fc.array(wraps, { minLength: 1, maxLength: 3 }),
});

function plain({ wraps: list, ...rest }: Envelope): object {
  return { ...rest, wraps: list.map((one) => ({ ...one, ciphertext: Buffer.from(one.ciphertext).toString("hex") })) };
}

/** Reads bytes, or undefined where they are refused; anything but the documented refusal is thrown. */
function read(bytes: Uint8Array): Envelope | undefined {
  try {
    return decodeEnvelope(bytes);
  } catch (error) {
    if (error instanceof KmsError && error.reason === "ciphertext_invalid") return undefined;
    throw error;
  }
}

test("every envelope comes back as it was written", () => {
  fc.assert(
    fc.property(envelopes, (envelope) => {
      assert.deepEqual(plain(decodeEnvelope(encodeEnvelope(envelope))), plain(envelope));
    }),
    { numRuns: 500 },
  );
});

test("bytes that differ are refused, or mean something else and are the only ones that mean it", () => {
  const changes = fc.oneof(
    // Another byte in the place of one is what is read most often.
    fc.record({ at: fc.nat(), remove: fc.constant(1), insert: fc.uint8Array({ minLength: 1, maxLength: 1 }) }),
    fc.record({ at: fc.nat(), remove: fc.nat(4), insert: fc.uint8Array({ maxLength: 4 }) }),
  );
  let accepted = 0;
  fc.assert(
    fc.property(envelopes, fc.array(changes, { minLength: 1, maxLength: 2 }), (envelope, list) => {
      const original = Buffer.from(encodeEnvelope(envelope));
      const changed = list.reduce((bytes, { at, remove, insert }) => {
        const from = at % (bytes.length + 1);
        return Buffer.concat([bytes.subarray(0, from), insert, bytes.subarray(from + remove)]);
      }, original);
      fc.pre(!changed.equals(original));
      const other = read(changed);
      if (other === undefined) return;
      accepted += 1;
      assert.notDeepEqual(plain(other), plain(envelope));
      assert.ok(Buffer.from(encodeEnvelope(other)).equals(changed));
    }),
    { numRuns: 2000, seed: 1 },
  );
  assert.ok(accepted > 100, `only ${accepted} changed envelopes were read: the property says nothing of the others`);
});

test("two envelopes are the same bytes only where they are the same envelope", () => {
  fc.assert(
    fc.property(envelopes, envelopes, (one, other) => {
      const isSame = Buffer.from(encodeEnvelope(one)).equals(encodeEnvelope(other));
      assert.equal(isSame, JSON.stringify(plain(one)) === JSON.stringify(plain(other)));
    }),
  );
});

test("an envelope is at most as long as Kubernetes takes, or is refused", () => {
  const long = fc.record({
    clusterUid: uids,
    keyId: ids,
    wraps: fc.array(
      fc.record({
        backend: backends,
        key: fc.string(),
        version: fc.constant(1),
        ciphertext: fc.uint8Array({ minLength: 400, maxLength: 520 }),
      }),
      {
        minLength: 2,
        maxLength: 2,
      },
    ),
  });
  const seen = new Set<boolean>();
  fc.assert(
    fc.property(long, (envelope) => {
      let bytes: Uint8Array;
      try {
        bytes = encodeEnvelope(envelope);
      } catch (error) {
        assert.ok(error instanceof KmsError && error.reason === "request_malformed");
        seen.add(false);
        return;
      }
      seen.add(true);
      assert.ok(bytes.length <= limits.ciphertext);
      assert.deepEqual(plain(decodeEnvelope(bytes)), plain(envelope));
    }),
    { seed: 1, numRuns: 300 },
  );
  assert.equal(seen.size, 2, "both sides of the limit were tried");
});
