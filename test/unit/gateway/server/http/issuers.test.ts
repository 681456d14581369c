// A cluster whose record pins the CA that may speak for it, at a gateway that trusts another one too.
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test, type TestContext } from "node:test";
import { certificatePin, publicKeyPin } from "@claviger/proto/runtime/pins.ts";
import { headers, methods } from "@claviger/proto/wire/protocol.ts";
import { Agent } from "undici";
import { createAuthority, createLeaf, type Pem } from "../../../certificates.ts";
import { cluster } from "../../fakes.ts";
import { ca, gatewayPair, start } from "./harness.ts";

const ours = await createAuthority("ours");
const theirs = await createAuthority("theirs");
const below = await createAuthority("below", ours);
const proxyId = "spiffe://fleet.test/proxy/edge";

async function site(t: TestContext, issuer: string | undefined, requestsPerSecond = 1000) {
  const clientCa = `${ours.cert}${theirs.cert}${below.cert}`;
  const record = cluster({ ...(issuer !== undefined && { issuer }), limits: { requestsPerSecond } });
  const gateway = await start(t, {
    tls: { ...gatewayPair, clientCa },
    records: [record],
    trustedProxies: [proxyId],
  });
  const ask = async (pair: Pem, given: Record<string, string> = {}) => {
    const agent = new Agent({ allowH2: false, connect: { ca: ca.cert, ...pair } });
    try {
      const reply = await gateway.post(methods.status, "", given, agent);
      return { reason: reply.headers["claviger-reason"], status: reply.status, epoch: reply.headers[headers.epoch] };
    } finally {
      await agent.destroy();
    }
  };
  return { ...gateway, ask };
}

test("another CA that the gateway trusts may not speak for a cluster that is pinned", async (t) => {
  const certificate = new X509Certificate(ours.cert);
  const [own, foreign] = await Promise.all([ours, theirs].map((issuer) => createLeaf({ issuer, use: "client" })));
  const ofIntermediate = await createLeaf({ issuer: below, use: "client" });
  assert.ok(own !== undefined && foreign !== undefined);
  for (const issuer of [certificatePin(certificate), publicKeyPin(certificate)]) {
    const { ask, lines } = await site(t, issuer);
    assert.equal((await ask(own)).status, 200);
    assert.equal((await ask(ofIntermediate)).status, 200, "the pinned CA signed its issuer, and both are client CAs");
    const refused = await ask(foreign, { [headers.epoch]: "9.9.9" });
    assert.deepEqual(refused, { reason: "issuer_not_allowed", status: 403, epoch: undefined });
    const line = lines.find(({ outcome }) => outcome === "denied");
    assert.deepEqual([line?.reason, line?.cluster, line?.node], ["issuer_not_allowed", "prod", "cp-1"]);
    assert.equal(line?.serial, new X509Certificate(foreign.cert).serialNumber);
    const proxy = await createLeaf({ issuer: theirs, use: "client", uri: proxyId });
    const forwarded = ({ cert }: Pem) => ({ "x-forwarded-client-cert": `Cert="${encodeURIComponent(cert)}"` });
    assert.equal((await ask(proxy, forwarded(own))).status, 200, "the pin is of the client's CA, not of the proxy's");
    assert.equal((await ask(proxy, forwarded(foreign))).reason, "issuer_not_allowed");
  }
  const { ask } = await site(t, undefined);
  assert.deepEqual([(await ask(own)).status, (await ask(foreign)).status], [200, 200], "no pin, every client CA");
});

test("a pinned intermediate is not its root's other intermediates, nor the root itself", async (t) => {
  const { ask } = await site(t, publicKeyPin(new X509Certificate(below.cert)));
  assert.equal((await ask(await createLeaf({ issuer: below, use: "client" }))).status, 200);
  assert.equal((await ask(await createLeaf({ issuer: ours, use: "client" }))).reason, "issuer_not_allowed");
});

test("who has another CA does not use up the cluster's rate", async (t) => {
  const { ask } = await site(t, publicKeyPin(new X509Certificate(ours.cert)), 1);
  const [own, foreign] = [
    await createLeaf({ issuer: ours, use: "client" }),
    await createLeaf({ issuer: theirs, use: "client" }),
  ];
  for (let i = 0; i < 15; i++) assert.equal((await ask(foreign)).reason, "issuer_not_allowed");
  assert.equal((await ask(own)).status, 200);
});
