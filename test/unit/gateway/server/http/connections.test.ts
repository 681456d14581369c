// Connections: who gets one, who loses one, and what is recorded of handshakes.
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as tlsConnect, type TLSSocket } from "node:tls";
import { test } from "node:test";
import { defaultListenLimits } from "@claviger/gateway-server/src/http/limits.ts";
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

test("of the connections of one cluster the oldest idle one makes room, and another cluster's stays", async (t) => {
  const { port } = await start(t, { limits: { ...defaultListenLimits, connectionsPerCluster: 3 } });
  const open = async (cluster: string, node: string): Promise<TLSSocket> => {
    const pair = await pem(issueNode({ ca, cluster, node }));
    const socket = tlsConnect({ port, host: "127.0.0.1", ca: ca.cert, ...pair });
    t.after(() => socket.destroy());
    await once(socket, "secureConnect");
    return socket.on("error", () => {}).resume();
  };
  const other = await open("other", "cp-1");
  const first = await open("prod", "cp-1");
  const closed = once(first, "close");
  const later = [await open("prod", "cp-2"), await open("prod", "cp-3"), await open("prod", "cp-4")];
  await closed;
  assert.ok([other, ...later].every(({ destroyed }) => !destroyed));
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
  const { post, server, port } = await start(t, { service: slow });
  const silent = connect({ port, host: "127.0.0.1" });
  await once(
    silent.on("error", () => {}),
    "connect",
  );
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
    ["timeout ×1"],
  );
});

test("silent connections make room for those that say hello, and cost nobody a connection that is served", async (t) => {
  const { port, post } = await start(t, { limits: { ...defaultListenLimits, handshakes: 4 } });
  await post(methods.status, "");
  const open = async (): Promise<Socket> => {
    const socket = connect({ port, host: "127.0.0.1" });
    t.after(() => socket.destroy());
    socket.on("error", () => {}).resume();
    await once(socket, "connect");
    return socket;
  };
  const first = await open();
  const closed = once(first, "close");
  for (let i = 0; i < 4; i++) await open();
  await closed;
  // A new one gets in through the crowd, and the one that was there before is still answered.
  const agent = new Agent({ allowH2: false, connect: { ca: ca.cert, ...nodePair } });
  t.after(() => agent.destroy());
  assert.equal((await post(methods.status, "", {}, agent)).status, 200);
  assert.equal((await post(methods.status, "")).status, 200);
});

test("handshakes that have begun are not given up for newcomers", async (t) => {
  const { port, post } = await start(t, { limits: { ...defaultListenLimits, handshakes: 3 } });
  const open = async (): Promise<Socket> => {
    const socket = connect({ port, host: "127.0.0.1" });
    t.after(() => socket.destroy());
    await once(socket.on("error", () => {}).resume(), "connect");
    return socket;
  };
  const begun = [await open(), await open()];
  // The beginning of a record.
  for (const socket of begun) await new Promise((resolve) => socket.write(Buffer.from([22, 3, 1, 2]), resolve));
  // Once this one has been answered, the server has read those bytes as well.
  await post(methods.status, "");
  const silent = await open();
  const closed = once(silent, "close");
  await open();
  await closed;
  assert.ok(begun.every(({ destroyed, readableEnded }) => !destroyed && !readableEnded));
});

test("a connection with a request under way is never the one that makes room, also where requests are pipelined", async (t) => {
  const release = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  let calls = 0;
  const slow: KmsService = {
    ...reversing,
    // The first is answered at once, the second one waits.
    status: async () => {
      calls += 1;
      if (calls === 2) {
        reached.resolve();
        await release.promise;
      }
      return { healthz: "ok", keyId: "kid" };
    },
  };
  const { port } = await start(t, { service: slow, limits: { ...defaultListenLimits, connectionsPerIdentity: 2 } });
  const open = async (): Promise<TLSSocket> => {
    const socket = tlsConnect({ port, host: "127.0.0.1", ca: ca.cert, ...nodePair });
    t.after(() => socket.destroy());
    await once(
      socket.on("error", () => {}),
      "secureConnect",
    );
    return socket;
  };
  const busy = await open();
  const head = `POST ${methods.status} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\ncontent-length: 0\r\n\r\n`;
  let text = "";
  busy.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  busy.write(head + head);
  await reached.promise;
  const idle = await open();
  const idleClosed = once(idle.resume(), "close");
  await open();
  await idleClosed;
  release.resolve();
  while (text.split("HTTP/1.1 200").length < 3) await once(busy, "data");
  assert.ok(!busy.destroyed);
});

test("a client CA that is taken away in the middle of a handshake lets nobody in", async (t) => {
  const { port, server, lines, post } = await start(t);
  const other = await createCa({ trustDomain: "fleet.test" });
  const socket = connect({ port, host: "127.0.0.1" });
  await once(socket, "connect");
  // Once this one has been answered, the server has chosen the TLS context of the other one as well.
  await post(methods.status, "");
  server.setTls({ ...gatewayPair, clientCa: other.cert });
  const tls = tlsConnect({
    socket,
    ca: ca.cert,
    servername: "localhost",
    checkServerIdentity: () => undefined,
    ...nodePair,
  });
  await once(tls.on("error", () => {}).resume(), "close");
  await server.close();
  const line = lines.find(({ method }) => method === "handshake");
  assert.match(line?.cause ?? "", /^ca_removed ×1$/);
  assert.match(line?.names ?? "", /cluster\/prod\/node\/cp-1/);
});

test("connections whose certificate verifies under the new client CA stay open", async (t) => {
  const { post, server, port } = await start(t);
  await post(methods.status, "");
  const other = await createCa({ trustDomain: "fleet.test" });
  const watched = tlsConnect({ port, host: "127.0.0.1", ca: ca.cert, ...nodePair });
  t.after(() => watched.destroy());
  await once(
    watched.on("error", () => {}),
    "secureConnect",
  );
  server.setTls({ ...gatewayPair, clientCa: `${other.cert}\n${ca.cert}` });
  assert.equal((await post(methods.status, "")).status, 200);
  assert.ok(!watched.destroyed);
});

test("an expired certificate is refused in the handshake, and named", async (t) => {
  const { port, lines, server } = await start(t);
  // A tenth of a second; times in certificates are whole seconds.
  const pair = await pem(issueNode({ ca, cluster: "prod", node: "cp-9", validity: 1e-6 }));
  await new Promise((resolve) => setTimeout(resolve, 1200));
  const socket = tlsConnect({ port, host: "127.0.0.1", ca: ca.cert, ...pair });
  await once(socket.on("error", () => {}).resume(), "close");
  await server.close();
  assert.match(lines[0]?.cause ?? "", /^certificate_expired ×1$/);
  assert.match(lines[0]?.names ?? "", /node\/cp-9/);
});

test("500 failed handshakes of one peer are one record", async (t) => {
  const { port, lines, server } = await start(t);
  const garbage = async (): Promise<void> => {
    const socket = connect({ port, host: "127.0.0.1" }, () => socket.write("GET / HTTP/1.1\r\n\r\n"));
    await once(socket.on("error", () => {}).resume(), "close");
  };
  for (let i = 0; i < 10; i++) await Promise.all(Array.from({ length: 50 }, garbage));
  await server.close();
  assert.equal(lines.length, 1);
  assert.equal(lines[0]?.count, 500);
  assert.equal(lines[0]?.cause, "protocol (ERR_SSL_HTTP_REQUEST) ×500");
});
