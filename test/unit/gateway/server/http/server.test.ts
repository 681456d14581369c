import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { connect as tlsConnect } from "node:tls";
import { test, type TestContext } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createAuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import type { AuditEntry } from "@claviger/gateway-core/src/audit/record.ts";
import type { AuditSink } from "@claviger/gateway-core/src/audit/sinks.ts";
import { createHandlers } from "@claviger/gateway-server/src/http/routes.ts";
import { createKmsHttpServer } from "@claviger/gateway-server/src/http/server.ts";
import type { KmsService } from "@claviger/gateway-server/src/kms/service.ts";
import { createMetrics } from "@claviger/gateway-server/src/metrics.ts";
import {
  type Ca,
  createCa,
  issueGateway,
  issueNode,
  issueOperator,
  type KeyPair,
} from "@claviger/gateway-core/src/pki/authority.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { DecryptBatchRequestSchema, DecryptBatchResponseSchema } from "@claviger/proto/gen/claviger/relay_pb.ts";
import * as v1 from "@claviger/proto/gen/k8s/kms_v1beta1_pb.ts";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { trustDomain } from "@claviger/proto/wire/names.ts";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { Agent, request } from "undici";
import { silent } from "../../fakes.ts";

const ca: Ca = await createCa({ trustDomain: "fleet.test" });
async function pem(pair: Promise<KeyPair>): Promise<{ readonly cert: string; readonly key: string }> {
  const { cert, key } = await pair;
  return { cert, key: key.use((text) => text) };
}
const gatewayPair = await pem(issueGateway({ ca, ips: ["127.0.0.1"] }));
const nodePair = await pem(issueNode({ ca, cluster: "prod", node: "cp-1" }));

type Line = Omit<AuditEntry, "at"> & { readonly time: string; readonly sequence: number };

/** A service that "encrypts" by reversing: the routes are what is tested here. */
const reversing: KmsService = {
  status: (call) => {
    call.trail.epoch = [1, 2, 3];
    return Promise.resolve({ healthz: "ok", keyId: "kid" });
  },
  encrypt: (call, plaintext) => {
    call.trail.keyId = "kid";
    return Promise.resolve({ ciphertext: Buffer.from(plaintext).reverse(), keyId: "kid" });
  },
  decrypt: async (_call, ciphertext) => {
    if (ciphertext[0] === 0xff) throw new KmsError("ciphertext_invalid");
    return Buffer.from(ciphertext).reverse();
  },
};

async function start(t: TestContext, { service = reversing, sink }: { service?: KmsService; sink?: AuditSink } = {}) {
  const lines: Line[] = [];
  const memory: AuditSink = {
    name: "memory",
    write: (bytes) => {
      for (const line of bytes.toString().trimEnd().split("\n")) lines.push(JSON.parse(line) as Line);
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  };
  const audit = createAuditLog({ sinks: [sink ?? memory], required: true, log: silent });
  const server = createKmsHttpServer({
    tls: { ...gatewayPair, clientCa: ca.cert },
    trustDomain: trustDomain.parse("fleet.test"),
    handlers: createHandlers(service, "0.0.0"),
    audit,
    metrics: createMetrics(),
    log: silent,
  });
  const port = await server.listen("127.0.0.1", 0);
  const agent = new Agent({ allowH2: false, connect: { ca: ca.cert, ...nodePair } });
  t.after(async () => {
    await agent.destroy();
    await server.close();
  });
  const base = `https://127.0.0.1:${port}`;
  const post = async (
    path: string,
    body: Uint8Array | string,
    headers: Record<string, string> = {},
    dispatcher: Agent = agent,
  ) => {
    const reply = await request(`${base}${path}`, {
      method: "POST",
      dispatcher,
      body,
      headers: { "content-type": "application/proto", ...headers },
    });
    return { status: reply.statusCode, headers: reply.headers, body: Buffer.from(await reply.body.arrayBuffer()) };
  };
  return { base, post, lines, server, port, agent };
}

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
  const seed = randomBytes(32);
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
  const full: AuditSink = {
    name: "full",
    write: () => Promise.reject(new Error("ENOSPC")),
    close: () => Promise.resolve(),
  };
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

test("certificates of no node, of another trust domain or of another CA get nowhere", async (t) => {
  const { base, lines } = await start(t);
  const foreignCa = await createCa({ trustDomain: "fleet.test" });
  const elsewhereCa = await createCa({ trustDomain: "elsewhere.test" });
  const ask = async (pair: { cert: string; key: string } | undefined) => {
    const agent = new Agent({ allowH2: false, connect: { ca: ca.cert, ...pair } });
    try {
      const reply = await request(`${base}${methods.status}`, {
        method: "POST",
        dispatcher: agent,
        body: "",
        headers: { "content-type": "application/proto" },
      });
      await reply.body.dump();
      return reply.headers["claviger-reason"];
    } finally {
      await agent.destroy();
    }
  };
  assert.equal(
    await ask(gatewayPair).catch(() => "refused"),
    "refused",
    "a server certificate is no client certificate",
  );
  await assert.rejects(ask(undefined));
  await assert.rejects(ask(await pem(issueNode({ ca: foreignCa, cluster: "prod", node: "cp-1" }))));
  await assert.rejects(ask(await pem(issueNode({ ca: elsewhereCa, cluster: "prod", node: "cp-1" }))));
  assert.ok(
    lines.length >= 3 && lines.every(({ method, outcome }) => method === "handshake" && outcome === "denied"),
    JSON.stringify(lines),
  );
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
    toBinary(DecryptBatchRequestSchema, create(DecryptBatchRequestSchema, { requests })),
  );
  const { results } = fromBinary(DecryptBatchResponseSchema, reply.body);
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

test("a drain finishes what is under way", async (t) => {
  const reached = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const slow: KmsService = {
    ...reversing,
    status: async () => {
      reached.resolve();
      await release.promise;
      return { healthz: "ok", keyId: "kid" };
    },
  };
  const { post, server } = await start(t, { service: slow });
  const reply = post(methods.status, "");
  await reached.promise;
  const closed = server.close();
  release.resolve();
  assert.equal((await reply).status, 200);
  assert.equal((await reply).headers["connection"], "close");
  const began = performance.now();
  await closed;
  assert.ok(performance.now() - began < 2000, "closing waits for nobody who has been answered");
});

test("a client CA that is taken away ends the connections that it let in", async (t) => {
  const { post, server } = await start(t);
  await post(methods.status, "");
  const next = await createCa({ trustDomain: "fleet.test" });
  server.setTls({ ...gatewayPair, clientCa: next.cert });
  assert.equal((await post(methods.status, "")).headers["connection"], "close");
  await assert.rejects(post(methods.status, ""));
});

test("an operator's certificate is no node's", async (t) => {
  const { base, lines } = await start(t, {
    service: {
      ...reversing,
      status: (call) =>
        call.identity.kind === "node" ? reversing.status(call) : Promise.reject(new KmsError("identity_invalid")),
    },
  });
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

test("TLS below 1.3 is refused", async (t) => {
  const { port } = await start(t);
  await assert.rejects(
    new Promise((resolve, reject) => {
      const socket = tlsConnect({ port, host: "127.0.0.1", ca: ca.cert, ...nodePair, maxVersion: "TLSv1.2" }, () =>
        resolve(undefined),
      );
      socket.once("error", reject);
    }),
  );
});
