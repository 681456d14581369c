// A caller that leaves while its call is at OpenBao: the gateway ends its own call there, and keeps
// the record alone.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connect } from "node:tls";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BatchRequestSchema } from "@claviger/proto/gen/claviger/relay_pb.ts";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { Agent, request } from "undici";
import { startFaultyVault } from "../../lab/faulty.ts";
import { startLab } from "../../lab/lab.ts";
import { until } from "../../lab/process-group.ts";

type Line = { readonly method: string; readonly reason?: string; readonly uids?: readonly string[] };

test("a caller leaves while its call is at OpenBao: the call there ends, and the record says so", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  let proxy: Awaited<ReturnType<typeof startFaultyVault>> | undefined;
  const lab = await startLab({
    dir,
    redis: false,
    shims: 0,
    // Nothing but the callers asks OpenBao to encrypt or decrypt meanwhile.
    gatewayExtra: { keys: { refresh: "5m", canary: "1h" } },
    vaultAddresses: async (addr) => {
      proxy = await startFaultyVault(addr);
      return [proxy.url];
    },
  });
  t.after(async () => {
    await lab.stop();
    await proxy?.close();
    await rm(dir, { recursive: true, force: true });
  });
  const [gateway] = lab.gateways;
  assert.ok(gateway !== undefined && proxy !== undefined);
  const { hanging } = proxy;
  const pair = await lab.pki.node("cluster-1", "node-1");
  const tls = { cert: readFileSync(pair.cert), key: readFileSync(pair.key), ca: readFileSync(lab.pki.ca) };
  const url = new URL(gateway.url);
  const agent = new Agent({ allowH2: false, connect: tls });
  t.after(() => agent.destroy());
  const post = async (path: string, body: Uint8Array): Promise<Buffer> => {
    const reply = await request(`${gateway.url}${path}`, {
      method: "POST",
      dispatcher: agent,
      headers: { "content-type": "application/proto" },
      body,
    });
    assert.equal(reply.statusCode, 200);
    return Buffer.from(await reply.body.arrayBuffer());
  };
  const inFlight = async (): Promise<number> => {
    const page = await (await request(gateway.metrics)).body.text();
    return Number(/^claviger_gateway_requests_in_flight(?:\{[^}]*\})? (\S+)/m.exec(page)?.[1]);
  };

  const plaintext = Buffer.alloc(32, 7);
  const encrypt = toBinary(v2.EncryptRequestSchema, create(v2.EncryptRequestSchema, { plaintext, uid: "leaver" }));
  const { ciphertext, keyId } = fromBinary(v2.EncryptResponseSchema, await post(methods.encrypt, encrypt));
  const decrypt = toBinary(
    v2.DecryptRequestSchema,
    create(v2.DecryptRequestSchema, { ciphertext, keyId, uid: "leaver" }),
  );
  const batch = toBinary(BatchRequestSchema, create(BatchRequestSchema, { requests: [decrypt, decrypt, decrypt] }));
  for (const [method, path, body] of [
    ["encrypt", methods.encrypt, encrypt],
    ["decrypt", methods.decrypt, decrypt],
    ["decryptBatch", methods.decryptBatch, batch],
  ] as const) {
    await proxy.set("hang");
    const caller = connect({ host: url.hostname, port: Number(url.port), ...tls });
    caller.on("error", () => {});
    caller.write(
      `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\ncontent-length: ${body.length}\r\n\r\n`,
    );
    caller.write(body);
    await until("the call to be at OpenBao", gateway.proc, () => (hanging() === 1 ? true : undefined));
    assert.equal(await inFlight(), 1);

    caller.destroy();

    await until("the call at OpenBao to end", gateway.proc, () => (hanging() === 0 ? true : undefined), 2000);
    await until("the request to end", gateway.proc, async () => ((await inFlight()) === 0 ? true : undefined), 2000);
    const text = readFileSync(gateway.audit, "utf8").trimEnd().split("\n").at(-1) ?? "";
    const record = JSON.parse(text) as Line & { readonly calls?: readonly Line[] };
    assert.equal(record.method, method);
    assert.equal(record.reason, "canceled");
    assert.deepEqual(
      record.calls?.map(({ reason }) => reason),
      method === "decryptBatch" ? ["canceled", "canceled", "canceled"] : undefined,
    );
    await proxy.set("none");
    const reply = fromBinary(v2.DecryptResponseSchema, await post(methods.decrypt, decrypt));
    assert.deepEqual(Buffer.from(reply.plaintext), plaintext, "others are served");
  }
});
