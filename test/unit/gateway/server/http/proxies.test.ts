// Clients behind a proxy are judged as those that connect directly, on real connections.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { createCa, issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { Agent } from "undici";
import { createAuthority, createLeaf, type Pem, pemOf } from "../../../certificates.ts";
import { ca, gatewayPair, start } from "./harness.ts";

const hour = 3_600_000;
const proxyId = "spiffe://fleet.test/proxy/edge";
const innerId = "spiffe://fleet.test/proxy/inner";
const root = await createAuthority("root");
const intermediate = await createAuthority("intermediate", root);
const node = await createLeaf({ issuer: root, use: "client" });
const below = await createLeaf({ issuer: intermediate, use: "client" });
const proxy = await createLeaf({ issuer: root, use: "client", uri: proxyId });
const encoded = (...pems: readonly string[]): string => encodeURIComponent(pems.join(""));

/** A gateway that trusts the root, and a way to ask it with a certificate and a header. */
async function site(t: TestContext) {
  const clientCa = `${root.cert}${ca.cert}`;
  const gateway = await start(t, { tls: { ...gatewayPair, clientCa }, trustedProxies: [proxyId, innerId] });
  const agents = new Map<string, Agent>();
  t.after(() => Promise.all([...agents.values()].map((agent) => agent.destroy())));
  const ask = async (pair: Pem, forwarded?: string | readonly string[]): Promise<string> => {
    const agent =
      agents.get(pair.cert) ?? new Agent({ allowH2: false, connections: 1, connect: { ca: ca.cert, ...pair } });
    agents.set(pair.cert, agent);
    const header = { "x-forwarded-client-cert": forwarded } as Record<string, string>;
    const { status, headers } = await gateway.post(methods.status, "", forwarded === undefined ? {} : header, agent);
    return String(headers["claviger-handshake"] ?? headers["claviger-reason"] ?? status);
  };
  return { ...gateway, ask };
}

test("a proxy passes on a client with its intermediates, its subject, and what hops before it said", async (t) => {
  const { ask, lines } = await site(t);
  for (const header of [
    `Hash=0;Cert="${encoded(node.cert)}";Subject="CN=a,O=b";URI=spiffe://fleet.test/cluster/other/node/x`,
    `Hash=0;Chain="${encoded(below.cert, intermediate.cert)}"`,
    `Cert="${encoded(below.cert)}";Chain="${encoded(below.cert, intermediate.cert)}"`,
    // The last hop counts, whatever stands before it.
    `Cert="${encoded((await createLeaf({ issuer: root, use: "client", uri: "spiffe://fleet.test/cluster/forged/node/x" })).cert)}",Cert="${encoded(node.cert)}"`,
    `Hash=0,Cert="${encoded(node.cert)}"`,
    // A listed proxy behind another one.
    `Cert="${encoded(node.cert)}",Cert="${encoded((await createLeaf({ issuer: root, use: "client", uri: innerId })).cert)}"`,
  ])
    assert.equal(await ask(proxy, header), "200", header.replaceAll(/%[^"]{40,}/g, "..."));
  assert.ok(lines.every(({ cluster, outcome }) => cluster === "prod" && outcome === "ok"));
});

test("a certificate that is refused on a direct connection is refused through a proxy as well", async (t) => {
  const { ask } = await site(t);
  const foreign = pemOf(
    await issueNode({ ca: await createCa({ trustDomain: "fleet.test" }), cluster: "prod", node: "a" }),
  );
  const expiredCa = await createAuthority("expired", root, Date.now() - hour);
  const refused: readonly (readonly [string, Pem, string])[] = [
    ["for servers alone", await createLeaf({ issuer: root, use: "server" }), "wrong_purpose"],
    ["expired", await createLeaf({ issuer: root, use: "client", notAfter: Date.now() - hour }), "certificate_expired"],
    [
      "not valid yet",
      await createLeaf({ issuer: root, use: "client", notBefore: Date.now() + hour, notAfter: Date.now() + 2 * hour }),
      "certificate_not_yet_valid",
    ],
    ["of another CA", foreign, "unknown_ca"],
    ["without its intermediate", below, "unknown_ca"],
    [
      "of a node that is none",
      await createLeaf({ issuer: root, use: "client", uri: "spiffe://fleet.test/x" }),
      "identity_invalid",
    ],
    [
      "of another trust domain",
      await createLeaf({ issuer: root, use: "client", uri: "spiffe://else.test/cluster/prod/node/a" }),
      "identity_invalid",
    ],
  ];
  for (const [what, pair, direct] of refused) {
    assert.equal(await ask(pair), direct, what);
    assert.equal(await ask(proxy, `Hash=0;Cert="${encoded(pair.cert)}"`), "identity_invalid", what);
  }
  const underExpired = await createLeaf({ issuer: expiredCa, use: "client" });
  assert.equal(await ask(proxy, `Chain="${encoded(underExpired.cert, expiredCa.cert)}"`), "identity_invalid");
});

test("a header that Envoy would not write, or none, names nobody; a node's own certificate counts whatever it sends", async (t) => {
  const { ask } = await site(t);
  const good = `Cert="${encoded(node.cert)}"`;
  for (const header of [undefined, "", "Hash=0", `${good};${good}`, `Subject=",${good}`, `${good},Hash=0`])
    assert.equal(await ask(proxy, header), "identity_invalid", header?.slice(0, 40));
  const unlisted = await createLeaf({ issuer: root, use: "client", uri: "spiffe://fleet.test/proxy/other" });
  assert.equal(await ask(unlisted, good), "identity_invalid", "a proxy that is not listed is a stranger");
  const forged = await createLeaf({ issuer: root, use: "client", uri: "spiffe://fleet.test/cluster/other/node/x" });
  assert.equal(await ask(node, `Cert="${encoded(forged.cert)}"`), "200");
});

test("a connection outlives the certificate of its proxy or client, and is of no use then", async (t) => {
  const { ask } = await site(t);
  const header = `Cert="${encoded(node.cert)}"`;
  const lasting = await createLeaf({ issuer: root, use: "client", notAfter: Date.now() + 50 * 60_000 });
  const brief = await createLeaf({ issuer: root, use: "client", uri: proxyId, notAfter: Date.now() + 10 * 60_000 });
  assert.deepEqual([await ask(proxy, header), await ask(brief, header), await ask(lasting)], ["200", "200", "200"]);
  t.mock.timers.enable({ apis: ["Date"], now: Date.now() + 20 * 60_000 });
  assert.deepEqual([await ask(proxy, header), await ask(brief, header)], ["200", "identity_invalid"]);
  t.mock.timers.setTime(Date.now() + 35 * 60_000);
  assert.deepEqual([await ask(lasting), await ask(proxy, header)], ["identity_invalid", "200"]);
  t.mock.timers.setTime(Date.now() + 10 * 60_000);
  assert.equal(await ask(proxy, header), "identity_invalid", "the client's certificate expires as well");
});
