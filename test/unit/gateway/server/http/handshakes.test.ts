// Handshakes that fail: what the peer is told, what is counted and what is recorded.
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as tlsConnect } from "node:tls";
import { test, type TestContext } from "node:test";
import { createMetrics } from "@claviger/gateway-server/src/metrics.ts";
import { createCa, issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { Agent, request } from "undici";
import { createAuthority, createLeaf, type Pem, pemOf } from "../../../certificates.ts";
import { ca, gatewayPair, nodePair, start } from "./harness.ts";

const root = await createAuthority("root");
const intermediate = await createAuthority("intermediate", root);
const subordinate = await createAuthority("subordinate", intermediate);
const hour = 3_600_000;
const underIntermediate = await createLeaf({ issuer: intermediate, use: "client" });

/** What a client with that certificate is answered to a Status. */
async function ask(base: string, pair: Pem | undefined, serverCa = ca.cert) {
  const agent = new Agent({
    allowH2: false,
    connect: { ca: serverCa, allowPartialTrustChain: true, ...pair },
  });
  try {
    const reply = await request(`${base}${methods.status}`, {
      method: "POST",
      dispatcher: agent,
      body: "",
      headers: { "content-type": "application/proto" },
    });
    await reply.body.dump();
    const { "claviger-handshake": handshake, "claviger-reason": reason } = reply.headers;
    return { status: reply.statusCode, handshake, reason };
  } finally {
    await agent.destroy();
  }
}

function startWith(t: TestContext, clientCa: string, metrics = createMetrics()) {
  return start(t, { tls: { ...gatewayPair, clientCa }, metrics });
}

test("a peer that is not let in is told why, and so are the audit log and the metrics", async (t) => {
  const metrics = createMetrics();
  const { base, lines, server } = await startWith(t, `${intermediate.cert}\n${ca.cert}`, metrics);
  const foreign = await createCa({ trustDomain: "fleet.test" });
  const leaf = (change: Partial<Parameters<typeof createLeaf>[0]>) =>
    createLeaf({ issuer: intermediate, use: "client", ...change });
  const elsewhere = await createCa({ trustDomain: "elsewhere.test" });
  const refused: readonly (readonly [string, Pem | undefined])[] = [
    ["no_certificate", undefined],
    ["certificate_expired", await leaf({ notAfter: Date.now() - hour })],
    ["certificate_not_yet_valid", await leaf({ notBefore: Date.now() + hour, notAfter: Date.now() + 2 * hour })],
    ["unknown_ca", pemOf(await issueNode({ ca: foreign, cluster: "prod", node: "cp-1" }))],
    ["unknown_ca", pemOf(await issueNode({ ca: elsewhere, cluster: "prod", node: "cp-9" }))],
    ["wrong_purpose", await leaf({ use: "server" })],
    ["wrong_purpose", gatewayPair],
  ];
  for (const [failure, pair] of refused) {
    const reply = await ask(base, pair);
    assert.deepEqual(reply, { status: 401, handshake: failure, reason: undefined });
  }
  const page = await metrics.render();
  for (const name of new Set(refused.map(([failure]) => failure)))
    assert.match(page, new RegExp(`handshake_failures_total\\{kind="certificate",cause="${name}"[^}]*\\} [12]\\n`));
  await server.close();
  // One record for the peer: what a disk must take does not grow with what a peer tries.
  assert.equal(lines.length, 1, JSON.stringify(lines));
  const [line] = lines;
  assert.deepEqual([line?.method, line?.outcome, line?.count], ["handshake", "denied", refused.length]);
  assert.match(line?.cause ?? "", /no_certificate ×1/);
  assert.match(line?.cause ?? "", /certificate_expired ×1/);
  assert.match(line?.cause ?? "", /unknown_ca \([A-Z_]+\) ×2/);
  assert.match(line?.cause ?? "", /wrong_purpose \(INVALID_PURPOSE\) ×2/);
  assert.ok(line?.serial !== undefined && line.names !== undefined);
});

test("client CAs that are intermediates let their clients in, and nobody else", async (t) => {
  const { base, server } = await startWith(t, intermediate.cert);
  assert.equal((await ask(base, underIntermediate)).status, 200);
  const below = await createLeaf({ issuer: subordinate, use: "client" });
  const withChain = { ...below, cert: `${below.cert}${subordinate.cert}` };
  assert.equal((await ask(base, withChain)).status, 200);
  assert.equal((await ask(base, below)).handshake, "unknown_ca", "its intermediate is missing");
  const ofRoot = await createLeaf({ issuer: root, use: "client" });
  assert.equal((await ask(base, ofRoot)).handshake, "unknown_ca", "the root is not among the client CAs");
  server.setTls({ ...gatewayPair, clientCa: root.cert });
  assert.equal((await ask(base, ofRoot)).status, 200);
  assert.equal((await ask(base, underIntermediate)).handshake, "unknown_ca");
  const chained = { ...underIntermediate, cert: `${underIntermediate.cert}${intermediate.cert}` };
  assert.equal((await ask(base, chained)).status, 200);
  server.setTls({ ...gatewayPair, clientCa: `${ca.cert}\n${subordinate.cert}` });
  assert.equal((await ask(base, below)).status, 200);
});

test("a client CA that has expired lets nobody in, an intermediate as little as a root", async (t) => {
  const expiredRoot = await createAuthority("expired root", undefined, Date.now() - hour);
  const expired = await createAuthority("expired", root, Date.now() - hour);
  const { base } = await startWith(t, `${expiredRoot.cert}\n${expired.cert}\n${intermediate.cert}`);
  const under = await createLeaf({ issuer: expired, use: "client" });
  assert.deepEqual(await ask(base, under), { status: 401, handshake: "ca_expired", reason: undefined });
  const underRoot = await createLeaf({ issuer: expiredRoot, use: "client" });
  assert.equal((await ask(base, underRoot)).handshake, "certificate_expired");
  assert.equal((await ask(base, underIntermediate)).status, 200);
});

test("a peer that leaves because it does not trust the gateway is told from a port check", async (t) => {
  const seen = Promise.withResolvers<string>();
  const metrics = { ...createMetrics(), handshakeFailed: (_kind: string, cause: string) => seen.resolve(cause) };
  const { port, lines, server } = await startWith(t, ca.cert, metrics);
  const stranger = await createCa({ trustDomain: "fleet.test" });
  const socket = tlsConnect({ port, host: "127.0.0.1", ca: stranger.cert, ...nodePair });
  const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
  assert.match(error.code ?? "", /SELF_SIGNED_CERT_IN_CHAIN|ISSUER_CERT_LOCALLY/);
  assert.equal(await seen.promise, "peer_left");
  await server.close();
  assert.match(lines[0]?.cause ?? "", /^peer_left/);
});

test("what a refused peer sends is read by nobody", async (t) => {
  const { port, lines, server } = await startWith(t, ca.cert);
  const foreign = pemOf(
    await issueNode({ ca: await createCa({ trustDomain: "fleet.test" }), cluster: "prod", node: "cp-1" }),
  );
  const socket = tlsConnect({ port, host: "127.0.0.1", ca: ca.cert, ...foreign });
  await once(socket, "secureConnect");
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  socket.on("error", () => {});
  socket.write(
    `POST ${methods.status} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\ncontent-length: 0\r\n\r\n`.repeat(
      3,
    ),
  );
  await once(socket, "close");
  assert.equal(text.split("HTTP/1.1 ").length, 2, text);
  assert.match(text, /^HTTP\/1\.1 401 Unauthorized\r\nconnection: close\r\nclaviger-handshake: unknown_ca\r\n/);
  await server.close();
  assert.deepEqual(
    lines.map(({ method }) => method),
    ["handshake"],
  );
});
