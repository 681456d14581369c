// The KMS listener: Connect in both encodings, one audit record for each request, errors, epoch.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { KmsService } from "@claviger/gateway-server/src/kms/service.ts";
import { issueOperator } from "@claviger/gateway-core/src/pki/authority.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { BatchRequestSchema, BatchResponseSchema } from "@claviger/proto/gen/claviger/relay_pb.ts";
import * as v1 from "@claviger/proto/gen/k8s/kms_v1beta1_pb.ts";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { Agent, request } from "undici";

import { createFakeSink, fullDisk } from "../../core/audit/fakes.ts";
import { ca, nodePair, pem, start, reversing } from "./harness.ts";

test("a Connect client from npm calls KMS v2 and v1, with proto and JSON bodies", async (t) => {
  const { base } = await start(t);
  for (const useBinaryFormat of [true, false]) {
    const transport = createConnectTransport({
      baseUrl: base,
      httpVersion: "1.1",
      useBinaryFormat,
      nodeOptions: { ca: ca.cert, ...nodePair },
    });
    const client = createClient(v2.KeyManagementService, transport);
    assert.deepEqual((({ version, healthz, keyId }) => ({ version, healthz, keyId }))(await client.status({})), {
      version: "v2",
      healthz: "ok",
      keyId: "kid",
    });
    // The fake refuses a ciphertext that begins with 0xff: a plaintext that ends in it would do that.
    const plaintext = Buffer.alloc(32, 7);
    const { ciphertext, keyId } = await client.encrypt({ plaintext, uid: "u-1" });
    assert.deepEqual(Buffer.from((await client.decrypt({ ciphertext, keyId, uid: "u-2" })).plaintext), plaintext);
    const failure = await client
      .decrypt({ ciphertext: Buffer.from([0xff, 1]), keyId })
      .catch((error: unknown) => error);
    assert.ok(failure instanceof ConnectError);
    assert.equal(failure.code, Code.InvalidArgument);
    assert.equal(failure.metadata.get("claviger-reason"), "ciphertext_invalid");
    const old = createClient(v1.KeyManagementService, transport);
    assert.equal((await old.version({ version: "v1beta1" })).runtimeName, "claviger");
    const { cipher } = await old.encrypt({ version: "v1beta1", plain: Buffer.from("ping") });
    assert.equal(Buffer.from((await old.decrypt({ version: "v1beta1", cipher })).plain).toString(), "ping");
  }
});

test("curl's way works: JSON in, JSON out, base64 for bytes", async (t) => {
  const { post } = await start(t);
  const reply = await post(methods.encrypt, JSON.stringify({ plaintext: "AQI=" }), {
    "content-type": "application/json",
  });
  assert.deepEqual(JSON.parse(reply.body.toString()), { ciphertext: "AgE=", keyId: "kid" });
});

test("exactly one audit record for each request, refused ones included, without plaintext or ciphertext", async (t) => {
  const { post, lines } = await start(t);
  const seed = Buffer.concat([randomBytes(31), Buffer.from([1])]);
  const requests: readonly (readonly [string, Uint8Array | string, string])[] = [
    [methods.status, "", "ok"],
    [
      methods.encrypt,
      toBinary(v2.EncryptRequestSchema, create(v2.EncryptRequestSchema, { plaintext: seed, uid: "uid-1" })),
      "ok",
    ],
    [
      methods.decrypt,
      toBinary(
        v2.DecryptRequestSchema,
        create(v2.DecryptRequestSchema, { ciphertext: Buffer.from([0xff]), keyId: "k" }),
      ),
      "ciphertext_invalid",
    ],
    [methods.decrypt, "\xff\xff", "request_malformed"],
    ["/v2.KeyManagementService/Nothing", "", "method_unknown"],
    [methods.encrypt, Buffer.alloc(200_000), "request_too_large"],
    [`${methods.encrypt}?a=b`, "", "method_unknown"],
    [`${methods.encrypt}/`, "", "method_unknown"],
    ["/v2.KeyManagementService/%44ecrypt", "", "method_unknown"],
    ["/V2.KeyManagementService/Decrypt", "", "method_unknown"],
    ["//v2.KeyManagementService/Decrypt", "", "method_unknown"],
  ];
  for (const [path, body, result] of requests) {
    const before = lines.length;
    await post(path, body);
    assert.equal(lines.length, before + 1, path);
    assert.equal(lines.at(-1)?.reason ?? "ok", result, path);
    assert.equal(lines.at(-1)?.cluster, "prod");
  }
  const text = JSON.stringify(lines);
  assert.ok(text.includes('"uid-1"'));
  assert.ok(!text.includes(seed.toString("base64")) && !text.includes(seed.toString("hex")));
  assert.deepEqual(
    lines.map(({ sequence }) => sequence),
    requests.map((_, i) => i),
  );
});

test("when no sink takes the record, the result stays here", async (t) => {
  const full = createFakeSink("full");
  full.before = fullDisk;
  const { post } = await start(t, { sink: full });
  const reply = await post(
    methods.encrypt,
    toBinary(v2.EncryptRequestSchema, create(v2.EncryptRequestSchema, { plaintext: randomBytes(32) })),
  );
  assert.equal(reply.status, 503);
  assert.equal(reply.headers["claviger-reason"], "audit_unavailable");
  assert.deepEqual(JSON.parse(reply.body.toString()), {
    code: "unavailable",
    message: new KmsError("audit_unavailable").message,
  });
});

test("a caller's deadline ends the call", async (t) => {
  const never: KmsService = {
    ...reversing,
    status: (call) =>
      new Promise((_, reject) => call.signal.addEventListener("abort", () => reject(new KmsError("canceled")))),
  };
  const { post, lines } = await start(t, { service: never });
  const reply = await post(methods.status, "", { "connect-timeout-ms": "50" });
  assert.equal(reply.status, 504);
  assert.equal(lines.at(-1)?.reason, "deadline_exceeded");
});

test("the epoch of the cluster stands on every reply", async (t) => {
  const { post } = await start(t);
  assert.equal((await post(methods.status, "")).headers["claviger-epoch"], "1.2.3");
});

test("items of a batch fail alone", async (t) => {
  const { post, lines } = await start(t);
  const item = (ciphertext: Uint8Array, uid: string) =>
    toBinary(v2.DecryptRequestSchema, create(v2.DecryptRequestSchema, { ciphertext, keyId: "k", uid }));
  const requests = [
    item(Buffer.from([1, 2]), "a"),
    item(Buffer.from([0xff]), "b"),
    Buffer.from("junk"),
    item(Buffer.from([3, 4]), "d"),
  ];
  const reply = await post(
    methods.decryptBatch,
    toBinary(BatchRequestSchema, create(BatchRequestSchema, { requests })),
  );
  const { results } = fromBinary(BatchResponseSchema, reply.body);
  assert.deepEqual(
    results.map(({ outcome }) =>
      outcome.case === "response"
        ? Buffer.from(fromBinary(v2.DecryptResponseSchema, outcome.value).plaintext).toString("hex")
        : outcome.value,
    ),
    ["0201", "ciphertext_invalid", "request_malformed", "0403"],
  );
  assert.deepEqual(lines.at(-1)?.uids, ["a", "b", "d"]);
});

test("Encrypts of a batch fail alone, each with an entry of its own", async (t) => {
  const { post, lines } = await start(t);
  const batch = (...plaintexts: readonly Uint8Array[]) => {
    const requests = plaintexts.map((plaintext, i) =>
      plaintext.length === 0
        ? Buffer.from("junk")
        : toBinary(v2.EncryptRequestSchema, create(v2.EncryptRequestSchema, { plaintext, uid: `u${i}` })),
    );
    return post(methods.encryptBatch, toBinary(BatchRequestSchema, create(BatchRequestSchema, { requests })));
  };
  const { results } = fromBinary(
    BatchResponseSchema,
    (await batch(Buffer.from([1, 2]), Buffer.from([0xff]), Buffer.from([3, 4]))).body,
  );
  assert.deepEqual(
    results.map(({ outcome }) =>
      outcome.case === "response"
        ? Buffer.from(fromBinary(v2.EncryptResponseSchema, outcome.value).ciphertext).toString("hex")
        : outcome.value,
    ),
    ["0201", "key_unusable", "0403"],
  );
  const line = lines.at(-1);
  assert.deepEqual(
    [line?.method, line?.count, line?.uids, line?.outcome],
    ["encryptBatch", 3, ["u0", "u1", "u2"], "ok"],
  );
  assert.deepEqual(
    line?.calls?.map(({ keyId, reason, ciphertextSha256 }) => [keyId, reason, ciphertextSha256 !== undefined]),
    [
      ["kid", undefined, true],
      [undefined, "key_unusable", false],
      ["kid", undefined, true],
    ],
  );
  // Shims send halves of such a batch, until one is left.
  assert.equal((await batch(Buffer.from([1]), Buffer.alloc(0))).status, 400);
  assert.equal(lines.at(-1)?.reason, "request_malformed");
});

test("an operator's certificate is no node's", async (t) => {
  const { base, lines } = await start(t);
  const agent = new Agent({
    allowH2: false,
    connect: { ca: ca.cert, ...(await pem(issueOperator({ ca, name: "alice" }))) },
  });
  t.after(() => agent.destroy());
  const reply = await request(`${base}${methods.status}`, {
    method: "POST",
    dispatcher: agent,
    body: "",
    headers: { "content-type": "application/proto" },
  });
  await reply.body.dump();
  assert.equal(reply.statusCode, 401);
  assert.equal(lines.at(-1)?.operator, "alice");
});
