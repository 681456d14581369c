// Callers that mean harm or are broken: what they cost, what they are told, what is recorded.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { connect as tlsConnect } from "node:tls";
import { test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { defaultListenLimits } from "@claviger/gateway-server/src/http/limits.ts";
import type { KmsService } from "@claviger/gateway-server/src/kms/service.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { BatchRequestSchema } from "@claviger/proto/gen/claviger/relay_pb.ts";
import * as v1 from "@claviger/proto/gen/k8s/kms_v1beta1_pb.ts";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { until } from "../../../../lab/process-group.ts";
import { cluster } from "../../fakes.ts";

import { ca, nodePair, start, reversing } from "./harness.ts";

test("each item of a batch has an outcome, a hash and a uid of its own in the record", async (t) => {
  const { post, lines } = await start(t);
  const good = Buffer.from([1, 2]);
  const bad = Buffer.from([0xff]);
  const item = (ciphertext: Uint8Array, uid: string): Uint8Array =>
    toBinary(v2.DecryptRequestSchema, create(v2.DecryptRequestSchema, { ciphertext, keyId: "k", uid }));
  const sha = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
  const ok = { uid: "a", outcome: "ok", ciphertextSha256: sha(good) };
  const refused = { uid: "b", outcome: "invalid", reason: "ciphertext_invalid", ciphertextSha256: sha(bad) };
  const junk = { outcome: "invalid", reason: "request_malformed" };
  const table = [
    { items: [item(good, "a"), item(bad, "b")], outcome: "ok", calls: [ok, refused] },
    { items: [item(bad, "b"), item(good, "a"), Buffer.from("junk")], outcome: "ok", calls: [refused, ok, junk] },
    { items: [item(good, "a"), item(good, "a")], outcome: "ok", calls: [ok, ok] },
    { items: [Buffer.from("junk"), item(bad, "b")], outcome: "invalid", calls: [junk, refused] },
  ];
  for (const { items, outcome, calls } of table) {
    await post(
      methods.decryptBatch,
      toBinary(BatchRequestSchema, create(BatchRequestSchema, { requests: [...items] })),
    );
    const line = lines.at(-1);
    assert.equal(line?.outcome, outcome);
    assert.equal(line?.count, items.length);
    assert.deepEqual(line?.calls, calls);
  }
  const many = Array.from({ length: 64 }, (_, i) => item(good, `uid-${i}`));
  await post(methods.decryptBatch, toBinary(BatchRequestSchema, create(BatchRequestSchema, { requests: many })));
  assert.deepEqual(
    lines.at(-1)?.uids,
    many.map((_, i) => `uid-${i}`),
  );
});

test("who may not call is refused before a byte of the body is read", async (t) => {
  const record = cluster();
  for (const [records, reason] of [
    [[cluster({ state: "suspended" })], "cluster_suspended"],
    [[], "cluster_unknown"],
    [[{ ...record, limits: { requestsPerSecond: 0.05 } }], "overloaded"],
  ] as const) {
    const { port, lines } = await start(t, { records });
    const socket = tlsConnect({ port, host: "127.0.0.1", ca: ca.cert, ...nodePair });
    // Announces a mebibyte and sends none of it.
    socket.write(
      `POST ${methods.decryptBatch} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\ncontent-length: 1048576\r\n\r\n`,
    );
    let text = "";
    for await (const chunk of socket as AsyncIterable<Buffer>) text += chunk.toString();
    assert.match(text, new RegExp(`claviger-reason: ${reason}`));
    assert.match(text, /connection: close/);
    assert.equal(lines.at(-1)?.reason, reason);
  }
});

test("what a message costs is bounded before it is decoded", async (t) => {
  let isAsked = false;
  const service: KmsService = {
    ...reversing,
    decrypt: (...args) => {
      isAsked = true;
      return reversing.decrypt(...args);
    },
  };
  const { post } = await start(t, { service });
  const reasonOf = async (path: string, body: Uint8Array | string, type = "application/proto") =>
    (await post(path, body, { "content-type": type })).headers["claviger-reason"];
  // Half a million empty items, the same in JSON, an item of sixty thousand annotations.
  const empty = Buffer.alloc(2 ** 20, Buffer.from([0x0a, 0]));
  assert.equal(await reasonOf(methods.decryptBatch, empty), "request_malformed");
  const json = `{"requests":[${'"",'.repeat(2000)}""]}`;
  assert.equal(await reasonOf(methods.decryptBatch, json, "application/json"), "request_malformed");
  const long = JSON.stringify({ ciphertext: "A".repeat(20_000) });
  assert.equal(await reasonOf(methods.decrypt, long, "application/json"), "request_too_large");
  const annotations = Buffer.alloc(120_000, Buffer.from([0x22, 0]));
  assert.equal(await reasonOf(methods.decrypt, annotations), "request_malformed");
  assert.ok(!isAsked, "the service is asked nothing");
});

test("a caller's bad request is the caller's fault, and no error in the log", async (t) => {
  const { post, port, lines } = await start(t);
  for (const type of [";", "a\tb", "text/html", "application/proto;;"]) {
    const { status } = await post(methods.encrypt, "x", { "content-type": type });
    assert.equal(status, 400, type);
    assert.equal(lines.at(-1)?.reason, "request_malformed");
  }
  const raw = async (text: string): Promise<string> => {
    const socket = tlsConnect({ port, host: "127.0.0.1", ca: ca.cert, ...nodePair });
    socket.write(text);
    let answer = "";
    socket.on("error", () => {});
    for await (const chunk of socket as AsyncIterable<Buffer>) answer += chunk.toString();
    return answer;
  };
  const head = `POST ${methods.encrypt} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\n`;
  assert.match(await raw(`${head}transfer-encoding: chunked\r\n\r\nZZ\r\n`), /^HTTP\/1\.1 400/);
  assert.match(await raw("NOT HTTP\r\n\r\n"), /^HTTP\/1\.1 400/);
  const gone = tlsConnect({ port, host: "127.0.0.1", ca: ca.cert, ...nodePair }, () => {
    gone.end(`${head}content-length: 100\r\n\r\nhalf`);
    setTimeout(() => gone.destroy(), 20);
  });
  gone.on("error", () => {});
  await until("the record of a caller that left", undefined, () =>
    lines.at(-1)?.reason === "canceled" ? true : undefined,
  );
});

test("every request counts against its cluster's rate: refused, malformed, Version, and each item of a batch", async (t) => {
  for (const ask of [
    {
      path: methods.v1Version,
      body: toBinary(v1.VersionRequestSchema, create(v1.VersionRequestSchema, { version: "v1beta1" })),
      cost: 1,
    },
    { path: methods.encrypt, body: Buffer.from([0xff]), cost: 1 },
    { path: "/nothing", body: Buffer.alloc(0), cost: 1 },
    {
      path: methods.decryptBatch,
      body: toBinary(
        BatchRequestSchema,
        create(BatchRequestSchema, { requests: Array.from({ length: 10 }, () => Buffer.from("junk")) }),
      ),
      cost: 10,
    },
  ]) {
    const { post } = await start(t, { records: [cluster({ limits: { requestsPerSecond: 2 } })] });
    const reasons: unknown[] = [];
    // The bucket is ten seconds deep; what fills it meanwhile is allowed for.
    for (let i = 0; i < 40 / ask.cost; i++) reasons.push((await post(ask.path, ask.body)).headers["claviger-reason"]);
    const refused = reasons.filter((reason) => reason === "overloaded").length;
    assert.ok(refused >= 15 / ask.cost, `${ask.path}: ${refused} of ${reasons.length}`);
  }
});

test("bodies that do not arrive hold a bounded number of bytes and end in time", async (t) => {
  const { port, post } = await start(t, {
    limits: { ...defaultListenLimits, bodyMs: 2000, bodyBytesPerIdentity: 2 * 2 ** 20 },
  });
  const stalled = (): Promise<string> =>
    new Promise((resolve) => {
      const socket = tlsConnect({ port, host: "127.0.0.1", ca: ca.cert, ...nodePair });
      let text = "";
      socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
      socket.on("close", () => resolve(text)).on("error", () => {});
      socket.write(
        `POST ${methods.decryptBatch} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\ncontent-length: 1048576\r\n\r\nx`,
      );
    });
  const answers = await Promise.all(Array.from({ length: 6 }, stalled));
  assert.equal(answers.filter((text) => text.includes("claviger-reason: overloaded")).length, 4);
  assert.equal(answers.filter((text) => text.includes("claviger-reason: deadline_exceeded")).length, 2);
  assert.equal((await post(methods.status, "")).status, 200, "others are served");
});

test("a client that leaves ends the work, and its record says so", async (t) => {
  const reached = Promise.withResolvers<AbortSignal>();
  const service: KmsService = {
    ...reversing,
    decrypt: (call) => {
      reached.resolve(call.signal);
      return new Promise((_, reject) => call.signal.addEventListener("abort", () => reject(new KmsError("canceled"))));
    },
  };
  const { port, lines } = await start(t, { service });
  const body = toBinary(
    v2.DecryptRequestSchema,
    create(v2.DecryptRequestSchema, { ciphertext: Buffer.from([1]), keyId: "k" }),
  );
  const socket = tlsConnect({ port, host: "127.0.0.1", ca: ca.cert, ...nodePair });
  socket.on("error", () => {});
  socket.write(
    `POST ${methods.decrypt} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\ncontent-length: ${body.length}\r\n\r\n`,
  );
  socket.write(body);
  const signal = await reached.promise;
  socket.destroy();
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
  await until("the record", undefined, () => lines.at(-1));
  assert.equal(lines.at(-1)?.reason, "canceled");
  assert.equal(lines.at(-1)?.outcome, "failed");
});
