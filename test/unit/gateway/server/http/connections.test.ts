// Connections: who gets one, who loses one, and what is recorded of handshakes.
import assert from "node:assert/strict";
import { connect } from "node:net";
import { connect as tlsConnect, type TLSSocket } from "node:tls";
import { test } from "node:test";
import { defaultListenLimits } from "@claviger/gateway-server/src/http/server.ts";
import type { KmsService } from "@claviger/gateway-server/src/kms/service.ts";
import { createCa, issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { Agent, request } from "undici";

import { ca, gatewayPair, nodePair, pem, start, reversing } from "./harness.ts";

test("/livez answers shims without a record, and says when the gateway drains", async (t) => {
  const { base, agent, lines } = await start(t);
  const reply = await request(`${base}/livez`, { dispatcher: agent });
  assert.equal(reply.statusCode, 200);
  await reply.body.dump();
  assert.deepEqual(lines, []);
});

test("of the connections of one identity the oldest idle one makes room", async (t) => {
  const { port } = await start(t, { limits: { ...defaultListenLimits, connectionsPerIdentity: 3 } });
  const open = (): Promise<TLSSocket> =>
    new Promise((resolve, reject) => {
      const socket = tlsConnect({ port, host: "127.0.0.1", ca: ca.cert, ...nodePair }, () => resolve(socket));
      socket.once("error", reject);
      t.after(() => socket.destroy());
    });
  const first = await open();
  const closed = new Promise((resolve) => first.once("close", resolve));
  first.on("error", () => {});
  first.resume();
  const others = [await open(), await open(), await open()];
  await closed;
  assert.ok(others.every(({ destroyed }) => !destroyed));
});

test("certificates of no node, of another trust domain or of another CA get nowhere", async (t) => {
  const { base, lines, server } = await start(t);
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
  await server.close();
  // One record for the peer: what a disk must take does not grow with what a peer tries.
  assert.equal(lines.length, 1, JSON.stringify(lines));
  const [line] = lines;
  assert.equal(line?.method, "handshake");
  assert.equal(line?.outcome, "denied");
  assert.ok((line?.count ?? 0) >= 3);
  assert.match(line?.names ?? "", /spiffe:\/\/elsewhere\.test\/cluster\/prod\/node\/cp-1/);
  assert.match(line?.cause ?? "", /no certificate ×1/);
  assert.ok(line?.serial !== undefined);
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
  // Not one answer more on the connection that is open.
  await assert.rejects(post(methods.status, ""));
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

test("a connection that never says hello is closed after the time for a handshake, and that is one record; a port check is none", async (t) => {
  const { port, lines, server } = await start(t, { limits: { ...defaultListenLimits, handshakeMs: 100 } });
  const socket = connect({ port, host: "127.0.0.1" });
  socket.resume();
  await new Promise((resolve) => socket.on("error", () => {}).once("close", resolve));
  // What a load balancer does to see whether the port is open.
  const check = connect({ port, host: "127.0.0.1" }, () => check.destroy());
  await new Promise((resolve) => check.once("close", resolve));
  await server.close();
  assert.deepEqual(
    lines.map(({ cause }) => cause),
    ["ERR_TLS_HANDSHAKE_TIMEOUT ×1"],
  );
});
