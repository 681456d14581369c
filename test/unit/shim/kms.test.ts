import assert from "node:assert/strict";
import { test } from "node:test";
import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import * as v1 from "@claviger/proto/gen/k8s/kms_v1beta1_pb.ts";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { createKmsMethods } from "@claviger/shim/src/kms.ts";
import { createStatusKeeper } from "@claviger/shim/src/status.ts";
import type { UpstreamCall } from "@claviger/shim/src/gateway.ts";
import {
  decryptAnswer,
  createFakeUpstream,
  createFakeStateFile,
  noMetrics,
  plaintextOf,
  reasonOf,
  reply,
  silent,
  statusBytes,
} from "./fakes.ts";

function encode<D extends DescMessage>(schema: D, init: MessageInitShape<D>): Buffer {
  return Buffer.from(toBinary(schema, create(schema, init)));
}
function unused(): never {
  throw new Error("not to be asked");
}

function methodsOver(answer: (call: UpstreamCall) => Uint8Array) {
  const upstream = createFakeUpstream((call) => reply(answer(call), { epoch: { text: "0.1.1" } }));
  const status = createStatusKeeper({
    upstream,
    stateFile: createFakeStateFile(),
    grace: () => ({ healthyForMs: 1000, degradedForMs: 1000 }),
    log: silent,
  });
  const kms = createKmsMethods({ upstream, metrics: noMetrics, status, version: "1.2.3" });
  const call = (method: keyof typeof kms, request: Buffer): Promise<Uint8Array> =>
    kms[method](request, Date.now() + 1000, new AbortController().signal);
  return { upstream, call };
}

const ciphertext = Buffer.from("ct");
const refused: Readonly<
  Record<string, readonly ["encrypt" | "decrypt" | "v1Encrypt" | "v1Decrypt" | "v1Version", Buffer, string]>
> = {
  "an empty plaintext": ["encrypt", encode(v2.EncryptRequestSchema, { uid: "u" }), "request_malformed"],
  "a plaintext of 4096 bytes": [
    "encrypt",
    encode(v2.EncryptRequestSchema, { plaintext: Buffer.alloc(4096) }),
    "request_malformed",
  ],
  "an Encrypt with a uid beyond all bounds": [
    "encrypt",
    encode(v2.EncryptRequestSchema, { plaintext: Buffer.alloc(32), uid: "u".repeat(200_000) }),
    "request_too_large",
  ],
  "an empty ciphertext": ["decrypt", encode(v2.DecryptRequestSchema, { keyId: "k" }), "request_malformed"],
  "an empty key_id": ["decrypt", encode(v2.DecryptRequestSchema, { ciphertext }), "request_malformed"],
  "a key_id of 1025 bytes": [
    "decrypt",
    encode(v2.DecryptRequestSchema, { ciphertext, keyId: "k".repeat(1025) }),
    "request_malformed",
  ],
  "a ciphertext of 1 MiB": [
    "decrypt",
    encode(v2.DecryptRequestSchema, { ciphertext: Buffer.alloc(1024 * 1024), keyId: "k" }),
    "request_malformed",
  ],
  "annotations of 40 KiB": [
    "decrypt",
    encode(v2.DecryptRequestSchema, { ciphertext, keyId: "k", annotations: { "a.b": Buffer.alloc(40_960) } }),
    "ciphertext_invalid",
  ],
  "a key_id that is not UTF-8": ["decrypt", Buffer.from("0a0261621a02c328", "hex"), "request_malformed"],
  "a truncated message": [
    "decrypt",
    encode(v2.DecryptRequestSchema, { ciphertext, keyId: "k" }).subarray(0, -1),
    "request_malformed",
  ],
  "an empty v1 cipher": ["v1Decrypt", encode(v1.DecryptRequestSchema, { version: "v1beta1" }), "request_malformed"],
  "a foreign v1 version": ["v1Version", encode(v1.VersionRequestSchema, { version: "v9" }), "request_malformed"],
};
for (const [name, [method, request, reason]] of Object.entries(refused))
  test(`${name} is refused without asking a gateway`, async () => {
    const { call, upstream } = methodsOver(unused);
    assert.equal(await reasonOf(call(method, request)), reason);
    assert.equal(upstream.calls.length, 0);
  });

test("the request goes on as the very bytes that came, fields of later releases included", async () => {
  const request = Buffer.concat([
    encode(v2.EncryptRequestSchema, { plaintext: Buffer.alloc(32, 1), uid: "u" }),
    Buffer.from([0xf8, 0x07, 1]),
  ]);
  const answer = Buffer.concat([
    encode(v2.EncryptResponseSchema, { ciphertext, keyId: "k" }),
    Buffer.from([0xf8, 0x07, 2]),
  ]);
  const { call, upstream } = methodsOver(() => answer);
  assert.deepEqual(Buffer.from(await call("encrypt", request)), answer);
  assert.deepEqual(upstream.calls[0]?.body, request);
  assert.equal(upstream.calls[0]?.hedge, false);
});

const unusable: Readonly<Record<string, MessageInitShape<typeof v2.EncryptResponseSchema>>> = {
  "an empty ciphertext": { keyId: "k" },
  "an empty key_id": { ciphertext },
  "a ciphertext of 1025 bytes": { ciphertext: Buffer.alloc(1025), keyId: "k" },
  annotations: { ciphertext, keyId: "k", annotations: { "a.b": ciphertext } },
};
for (const [name, init] of Object.entries(unusable))
  test(`an Encrypt reply with ${name} never reaches kube-apiserver`, async () => {
    const { call } = methodsOver(() => encode(v2.EncryptResponseSchema, init));
    const request = encode(v2.EncryptRequestSchema, { plaintext: Buffer.alloc(32), uid: "u" });
    assert.equal(await reasonOf(call("encrypt", request)), "gateway_unavailable");
  });

test("an empty plaintext or v1 cipher never reaches kube-apiserver", async () => {
  const { call } = methodsOver(() => Buffer.alloc(0));
  const reasons = await Promise.all([
    reasonOf(call("decrypt", encode(v2.DecryptRequestSchema, { ciphertext, keyId: "k" }))),
    reasonOf(call("v1Encrypt", encode(v1.EncryptRequestSchema, { version: "v1beta1", plain: ciphertext }))),
    reasonOf(call("v1Decrypt", encode(v1.DecryptRequestSchema, { version: "v1beta1", cipher: ciphertext }))),
  ]);
  assert.deepEqual(reasons, ["gateway_unavailable", "gateway_unavailable", "gateway_unavailable"]);
});

test("Decrypts that differ in key_id alone are two requests", async () => {
  const { call, upstream } = methodsOver(({ body }) => decryptAnswer(body));
  const of = (keyId: string) => call("decrypt", encode(v2.DecryptRequestSchema, { ciphertext, keyId, uid: keyId }));
  const [a] = [await of("a"), await of("b")];
  assert.equal(plaintextOf(a), "tc");
  assert.equal(upstream.calls.length, 2);
});

test("v1 Version is answered here", async () => {
  const { call, upstream } = methodsOver(unused);
  const response = fromBinary(
    v1.VersionResponseSchema,
    await call("v1Version", encode(v1.VersionRequestSchema, { version: "v1beta1" })),
  );
  assert.deepEqual([response.version, response.runtimeName, response.runtimeVersion], ["v1beta1", "claviger", "1.2.3"]);
  assert.equal(upstream.calls.length, 0);
});

test("Status is what the gateway says", async () => {
  const { call } = methodsOver(() => statusBytes("key-1"));
  assert.equal(fromBinary(v2.StatusResponseSchema, await call("status", Buffer.alloc(0))).keyId, "key-1");
});
