// Handshakes between a shim and gateways: what is trusted, and what the shim says of the ones that fail.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { parseHandshakeFailure } from "@claviger/proto/wire/handshakes.ts";
import { headers } from "@claviger/proto/wire/protocol.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { ClientTls } from "@claviger/shim/src/gateway.ts";
import { createMetrics } from "@claviger/shim/src/metrics.ts";
import { createUpstream } from "@claviger/shim/src/upstream.ts";
import { createAuthority, createLeaf, type Pem } from "../certificates.ts";
import { createFleet, startGateway } from "./fakes.ts";

const fleet = await createFleet();
const root = await createAuthority("root");
const intermediate = await createAuthority("intermediate", root);
const hour = 3_600_000;
const gatewayId = "spiffe://fleet.test/gateway";
const ok = { body: Buffer.from("ok") };

function serverLeaf(change: Partial<Parameters<typeof createLeaf>[0]> = {}): Promise<Pem> {
  return createLeaf({
    issuer: intermediate,
    use: "server",
    uri: gatewayId,
    ips: ["127.0.0.1"],
    dns: ["gateway.fleet.test"],
    ...change,
  });
}

/** What a Status of a shim with these files comes to at a gateway with this certificate. */
async function ask(t: TestContext, server: Pem, tls: Partial<ClientTls>) {
  const gateway = await startGateway(t, { ...fleet, server }, () => ok);
  return await askAt(t, gateway.url, tls);
}

async function askAt(t: TestContext, url: string, tls: Partial<ClientTls>) {
  const metrics = createMetrics();
  const upstream = createUpstream([url], { ...fleet.tls, ca: intermediate.cert, ...tls }, metrics);
  t.after(() => upstream.close());
  const call = { method: "status", body: Buffer.alloc(0), deadline: Date.now() + 2000, hedge: false } as const;
  const outcome = await upstream.call(call).then(
    ({ body }) => body.toString(),
    (error: unknown) => {
      assert.ok(error instanceof KmsError && error.cause instanceof Error);
      assert.equal(error.reason, "gateway_unavailable");
      return error.cause.message;
    },
  );
  return { outcome, page: await metrics.render(), problem: upstream.gateways()[0]?.problem };
}

test("a CA that is an intermediate is enough", async (t) => {
  assert.equal((await ask(t, await serverLeaf(), {})).outcome, "ok");
  const withChain = await serverLeaf();
  assert.equal(
    (await ask(t, { ...withChain, cert: `${withChain.cert}${intermediate.cert}` }, { ca: root.cert })).outcome,
    "ok",
  );
});

test("a gateway whose certificate is not accepted is named with the reason, in the error, /readyz and the metrics", async (t) => {
  const refused = [
    ["unknown_ca", await serverLeaf(), { ca: root.cert }],
    ["certificate_expired", await serverLeaf({ notAfter: Date.now() - hour }), {}],
    [
      "certificate_not_yet_valid",
      await serverLeaf({ notBefore: Date.now() + hour, notAfter: Date.now() + 2 * hour }),
      {},
    ],
    ["wrong_purpose", await serverLeaf({ use: "client" }), {}],
    ["wrong_name", await serverLeaf({ ips: [] }), {}],
    ["wrong_name", await serverLeaf(), { serverName: "other.fleet.test" }],
  ] as const;
  for (const [failure, server, tls] of refused) {
    const { outcome, page, problem } = await ask(t, server, tls);
    assert.ok(outcome.startsWith(`the gateway's certificate is refused: ${failure}, `), `${failure}: ${outcome}`);
    assert.equal(problem, outcome);
    assert.match(page, new RegExp(`handshake_failures_total\\{refused_by="shim",cause="${failure}"`));
  }
});

test("a gateway is known by the SPIFFE id or the DNS name that is configured, whatever the host of its URL", async (t) => {
  const server = await serverLeaf({ ips: [] });
  for (const serverIdentities of [[gatewayId], ["gateway.fleet.test"], ["spiffe://old.test/gateway", gatewayId]])
    assert.equal((await ask(t, server, { serverIdentities })).outcome, "ok", serverIdentities.join());
  for (const serverIdentities of [[`${gatewayId}/x`], ["spiffe://fleet.test"], ["127.0.0.1.test"], ["fleet.test"]]) {
    const { outcome } = await ask(t, server, { serverIdentities });
    assert.match(outcome, /^the gateway's certificate is refused: wrong_name/, serverIdentities.join());
  }
  assert.equal((await ask(t, server, { serverName: "gateway.fleet.test" })).outcome, "ok", "as in 0.1.0");
  // The certificate of a node of the same CA is no gateway.
  const node = await serverLeaf({ uri: "spiffe://fleet.test/cluster/prod/node/cp-1" });
  assert.match((await ask(t, node, { serverIdentities: [gatewayId] })).outcome, /wrong_name/);
});

test("a gateway that refuses the shim says why, and another gateway is asked", async (t) => {
  const refusing = await startGateway(t, fleet, () => ({
    status: 401,
    headers: { [headers.handshake]: "certificate_expired" },
  }));
  const { outcome, page } = await askAt(t, refusing.url, { ca: fleet.tls.ca });
  assert.match(outcome, /^the gateway refuses this shim's certificate: certificate_expired, /);
  assert.match(page, /handshake_failures_total\{refused_by="gateway",cause="certificate_expired"/);
  const good = await startGateway(t, fleet, () => ok);
  const upstream = createUpstream([refusing.url, good.url], fleet.tls, createMetrics());
  t.after(() => upstream.close());
  for (let i = 0; i < 3; i++) {
    const call = { method: "status", body: Buffer.alloc(0), deadline: Date.now() + 2000, hedge: false } as const;
    assert.equal((await upstream.call(call)).body.toString(), "ok");
  }
});

test("a name that is not of the table is not repeated", async (t) => {
  assert.equal(parseHandshakeFailure("constructor"), undefined);
  const odd = await startGateway(t, fleet, () => ({ status: 401, headers: { [headers.handshake]: "<script>" } }));
  assert.equal((await askAt(t, odd.url, { ca: fleet.tls.ca })).outcome, "status 401");
});

test("a gateway that closes without a word, as 0.1.0 does, leaves what the shim knows of itself", async (t) => {
  const expired = await createLeaf({ issuer: fleet.ca, use: "client", notAfter: Date.now() - hour });
  const gateway = await startGateway(t, fleet, () => ok);
  const { outcome } = await askAt(t, gateway.url, { ...expired, ca: fleet.tls.ca });
  assert.match(outcome, /^the gateway refuses this shim's certificate: certificate_expired/);
});

test("a web server that answers 200 to all is no gateway", async (t) => {
  const gateway = await startGateway(t, { ...fleet, server: await serverLeaf() }, () => ({
    body: Buffer.from("<html>welcome</html>"),
    headers: { "content-type": "text/html" },
  }));
  const { outcome } = await askAt(t, gateway.url, {});
  assert.equal(outcome, "status 200, and not an answer of a gateway");
});
