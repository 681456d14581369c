// One trace from the caller of the socket through shim and gateway to the key backend, seen by a
// collector; and nothing secret in it.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { kmsClient } from "../../lab/kms.ts";
import { startLab } from "../../lab/lab.ts";
import { until } from "../../lab/process-group.ts";

test("a parent from the caller is honoured through shim and gateway to OpenBao, without secrets", async () => {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const received: Buffer[] = [];
  const collector = createServer((request, response) => {
    request.on("data", (chunk: Buffer) => received.push(chunk));
    request.on("end", () => response.writeHead(200, { "content-type": "application/x-protobuf" }).end());
  });
  await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
  const address = collector.address();
  assert.ok(typeof address === "object" && address !== null);
  const tracing = { endpoint: `http://127.0.0.1:${address.port}/v1/traces`, ratio: 0, delay: "50ms" };
  const lab = await startLab({ dir, redis: false, shimExtra: { tracing }, gatewayExtra: { tracing } });
  try {
    const traceId = randomBytes(16);
    const client = kmsClient(lab.shims[0]?.socket ?? "", {
      traceparent: `00-${traceId.toString("hex")}-${randomBytes(8).toString("hex")}-01`,
    });
    const plaintext = randomBytes(32);
    const sealed = await client.encrypt(plaintext);
    await client.decrypt(sealed);
    client.close();
    const all = () => Buffer.concat(received);
    const names = [
      "claviger-shim",
      "claviger-gateway",
      "v2.KeyManagementService/Encrypt",
      "v2.KeyManagementService/Decrypt",
      "rpc.system.name",
      "connectrpc",
      "service.instance.id",
      "backend encrypt",
      "backend decrypt",
    ];
    // OTLP carries the id as its 16 bytes.
    const spans = (): number => {
      let count = 0;
      for (let at = all().indexOf(traceId); at >= 0; at = all().indexOf(traceId, at + 1)) count += 1;
      return count;
    };
    await until(
      "every span at the collector",
      undefined,
      () => (spans() >= 6 && names.every((name) => all().includes(name)) ? true : undefined),
      10_000,
    );
    // Shim, gateway and backend, for Encrypt and for Decrypt: six spans of the caller's trace, and of
    // no other: ratio 0 keeps traces that begin here out.
    assert.equal(spans(), 6);
    const text = all();
    for (const secret of [
      plaintext,
      Buffer.from(plaintext.toString("base64")),
      Buffer.from(sealed.ciphertext),
      Buffer.from("hvs."),
    ])
      assert.ok(!text.includes(secret));
  } finally {
    await lab.stop();
    collector.close();
    await rm(dir, { recursive: true, force: true });
  }
});
