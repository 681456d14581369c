import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { test } from "node:test";
import { createIdentifier } from "@claviger/gateway-server/src/http/identifier.ts";
import { createCa, issueNode, issueOperator } from "@claviger/gateway-core/src/pki/authority.ts";
import { createCertificate } from "@claviger/gateway-core/src/pki/x509.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { trustDomain } from "@claviger/proto/wire/names.ts";

const ca = await createCa({ trustDomain: "fleet.test" });
const domain = trustDomain.parse("fleet.test");
const proxyId = "spiffe://fleet.test/proxy/edge";
const day = 86_400_000;
async function leaf(uri: string): Promise<string> {
  return (
    await createCertificate({
      commonName: "x",
      names: { uri },
      use: "client",
      issuer: ca,
      notBefore: new Date(Date.now() - day),
      notAfter: new Date(Date.now() + day),
    })
  ).cert;
}

function socketOf(pem: string | undefined): TLSSocket {
  return {
    getPeerX509Certificate: () => (pem === undefined ? undefined : new X509Certificate(pem)),
    authorized: pem !== undefined,
    once: () => {},
  } as unknown as TLSSocket;
}
function headerOf(pem: string): string {
  return `Hash=abc;Cert="${encodeURIComponent(pem)}";URI=spiffe://fleet.test/cluster/forged/node/forged`;
}
const authorities = [new X509Certificate(ca.cert)];
const identifier = createIdentifier(domain, [proxyId], () => authorities);
function isInvalid(error: unknown): boolean {
  return error instanceof KmsError && error.reason === "identity_invalid";
}

const node = (await issueNode({ ca, cluster: "prod", node: "cp-1" })).cert;
const proxy = await leaf(proxyId);

test("a node is who its own certificate says, whatever header comes with it", async () => {
  const other = (await issueNode({ ca, cluster: "other", node: "cp-1" })).cert;
  const socket = socketOf(node);
  for (const header of [undefined, headerOf(other)]) {
    const identity = identifier(socket, header);
    assert.ok(identity.kind === "node" && identity.cluster === "prod");
  }
});

test("a listed proxy speaks for the client whose certificate it passes on, and for itself never", () => {
  const identity = identifier(socketOf(proxy), headerOf(node));
  assert.ok(identity.kind === "node" && identity.cluster === "prod" && identity.node === "cp-1");
  assert.throws(() => identifier(socketOf(proxy), undefined), isInvalid);
});

test("what a listed proxy passes on counts only if our CA signed it, it is valid, and it is one certificate", async () => {
  const foreign = await createCa({ trustDomain: "fleet.test" });
  const expired = (
    await issueNode({ ca, cluster: "prod", node: "cp-1", clock: () => Date.now() - 3 * day, validity: 1 })
  ).cert;
  const forged = (await issueNode({ ca: foreign, cluster: "prod", node: "cp-1" })).cert;
  for (const header of [
    headerOf(forged),
    headerOf(expired),
    "",
    'Cert=""',
    'Cert="garbage"',
    `${headerOf(node)},${headerOf(forged)}`,
    `Cert="${encodeURIComponent(node)}";Cert="${encodeURIComponent(node)}"`,
    "URI=spiffe://fleet.test/cluster/prod/node/cp-1",
  ])
    assert.throws(() => identifier(socketOf(proxy), header), isInvalid, header.slice(0, 60));
});

test("a proxy that is not listed is a stranger", async () => {
  const unlisted = await leaf("spiffe://fleet.test/proxy/other");
  assert.throws(() => identifier(socketOf(unlisted), headerOf(node)), isInvalid);
});

test("names of another form, another trust domain or none get nowhere", async () => {
  for (const uri of [
    "spiffe://fleet.test/cluster/prod",
    "spiffe://elsewhere.test/cluster/prod/node/cp-1",
    "spiffe://fleet.test/cluster/Prod/node/cp-1",
    "spiffe://fleet.test/cluster/prod/node/cp-1/x",
  ])
    assert.throws(() => identifier(socketOf(undefined), undefined), isInvalid, uri);
  for (const uri of [
    "spiffe://fleet.test/cluster/prod",
    "spiffe://elsewhere.test/cluster/prod/node/cp-1",
    "spiffe://fleet.test/cluster/Prod/node/cp-1",
  ]) {
    const pem = await leaf(uri);
    assert.throws(() => identifier(socketOf(pem), undefined), isInvalid, uri);
  }
});

test("an operator is an operator", async () => {
  const identity = identifier(socketOf((await issueOperator({ ca, name: "alice" })).cert), undefined);
  assert.ok(identity.kind === "operator" && identity.operator === "alice");
});
