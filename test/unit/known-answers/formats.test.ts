// Fixed inputs and the bytes that release 0.1.0 made of them. What stands in etcd, in Redis and on
// the wire is read by other releases: a change here is a change of format, never a mere repair.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { KeyRef } from "@claviger/gateway-core/src/backend/port.ts";
import { buildDecrypt, buildEncrypt } from "@claviger/gateway-core/src/backend/vault/transit.ts";
import { decodeEnvelope, encodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import {
  associatedData,
  deriveKeyId,
  keyPath,
  type PromotedKey,
  refId,
} from "@claviger/gateway-core/src/key/key-id.ts";
import { signValue, verifyValue } from "@claviger/gateway-core/src/redis/signed-value.ts";
import { BatchRequestSchema, BatchResponseSchema, BatchResultSchema } from "@claviger/proto/gen/claviger/relay_pb.ts";
import { parseEpoch } from "@claviger/proto/wire/epoch.ts";
import { parseReason } from "@claviger/proto/wire/errors.ts";
import { backendName, clusterUid, keyId } from "@claviger/proto/wire/names.ts";

const known = new Set(readdirSync(import.meta.dirname).filter((file) => file.endsWith(".json")));

/** The answers of one file; each file is read by one test. */
function answers<T>(name: string): T {
  assert.ok(known.delete(`${name}.json`), `${name}.json is read once`);
  return JSON.parse(readFileSync(join(import.meta.dirname, `${name}.json`), "utf8")) as T;
}
function list<T>(name: string): readonly T[] {
  const all = answers<readonly T[]>(name);
  assert.ok(all.length > 0);
  return all;
}
function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
function unhex(text: string): Buffer {
  return Buffer.from(text, "hex");
}

type Item = { readonly associatedData: string; readonly version: number };
type Result = { readonly case: "response" | "reason"; readonly value: string };

suite("What 0.1.0 wrote is what this release writes", () => {
  test("key_id", () => {
    for (const one of list<{ clusterUid: string; keys: readonly PromotedKey[]; keyId: string }>("key-id"))
      assert.equal(deriveKeyId(clusterUid.parse(one.clusterUid), one.keys), one.keyId);
  });

  test("names of keys", () => {
    for (const { ref, path, id } of list<{ ref: KeyRef; path: string; id: string }>("key-names"))
      assert.deepEqual([keyPath(ref), refId(ref)], [path, id]);
  });

  test("associated data", () => {
    for (const one of list<Readonly<Record<"clusterUid" | "keyId" | "backend" | "hex", string>>>("associated-data"))
      assert.equal(
        hex(associatedData(clusterUid.parse(one.clusterUid), keyId.parse(one.keyId), backendName.parse(one.backend))),
        one.hex,
      );
  });

  test("the envelope, both ways", () => {
    type Wrap = Readonly<Record<"backend" | "key" | "ciphertext", string>> & { readonly version: number };
    type Known = {
      readonly envelope: { readonly clusterUid: string; readonly keyId: string; readonly wraps: readonly Wrap[] };
      readonly hex: string;
    };
    for (const one of list<Known>("envelope")) {
      const wraps = one.envelope.wraps.map((wrap) => ({
        ...wrap,
        backend: backendName.parse(wrap.backend),
        ciphertext: unhex(wrap.ciphertext),
      }));
      const uid = clusterUid.parse(one.envelope.clusterUid);
      const bytes = encodeEnvelope({ clusterUid: uid, keyId: keyId.parse(one.envelope.keyId), wraps });
      assert.equal(hex(bytes), one.hex);
      const read = decodeEnvelope(unhex(one.hex));
      assert.deepEqual(
        { ...read, wraps: read.wraps.map((wrap) => ({ ...wrap, ciphertext: hex(wrap.ciphertext) })) },
        one.envelope,
      );
    }
  });

  test("messages between shim and gateway, both ways", () => {
    const { request, response } = answers<{
      readonly request: { readonly requests: readonly string[]; readonly hex: string };
      readonly response: { readonly results: readonly Result[]; readonly hex: string };
    }>("relay");
    const requests = request.requests.map(unhex);
    assert.equal(hex(toBinary(BatchRequestSchema, create(BatchRequestSchema, { requests }))), request.hex);
    const { requests: read } = fromBinary(BatchRequestSchema, unhex(request.hex));
    assert.deepEqual(read.map(hex), request.requests);

    const results = response.results.map((one) =>
      create(BatchResultSchema, {
        outcome:
          one.case === "response"
            ? { case: one.case, value: unhex(one.value) }
            : { case: one.case, value: parseReason(one.value) ?? "" },
      }),
    );
    assert.equal(hex(toBinary(BatchResponseSchema, create(BatchResponseSchema, { results }))), response.hex);
    assert.deepEqual(
      fromBinary(BatchResponseSchema, unhex(response.hex)).results.map(({ outcome }) => ({
        case: outcome.case,
        value: outcome.case === "response" ? hex(outcome.value) : outcome.value,
      })),
      response.results,
    );
  });

  test("the epoch of a header is read", () => {
    for (const { epoch, text } of list<{ epoch: readonly number[]; text: string }>("epoch"))
      assert.deepEqual(parseEpoch(text), epoch);
  });

  test("a signed value of Redis, both ways", () => {
    for (const one of list<Readonly<Record<"keyHex" | "name" | "text" | "value", string>>>("signed-value")) {
      assert.equal(signValue(unhex(one.keyHex), one.name, one.text), one.value);
      assert.equal(verifyValue(unhex(one.keyHex), one.name, one.value), one.text);
    }
  });

  test("bodies of Transit requests", () => {
    const { encrypt, decrypt } = answers<{
      readonly encrypt: { readonly items: readonly (Item & { readonly plaintext: string })[]; readonly body: string };
      readonly decrypt: { readonly items: readonly (Item & { readonly ciphertext: string })[]; readonly body: string };
    }>("transit");
    const bytesOf = ({ associatedData: data, version }: Item) => ({ associatedData: unhex(data), version });
    const wraps = encrypt.items.map((item) => ({ ...bytesOf(item), plaintext: unhex(item.plaintext) }));
    const unwraps = decrypt.items.map((item) => ({ ...bytesOf(item), ciphertext: unhex(item.ciphertext) }));
    assert.equal(buildEncrypt(wraps).toString("latin1"), encrypt.body);
    assert.equal(buildDecrypt(unwraps).toString("latin1"), decrypt.body);
  });

  test("no answer is left unread", () => {
    assert.deepEqual([...known], []);
  });
});
