import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { before, describe, test } from "node:test";
import { connect, createServer, type TLSSocket } from "node:tls";
import { inspect } from "node:util";
import { trustDomain } from "@claviger/proto/wire/names.ts";
import { readIdentity } from "@claviger/gateway-core/src/identity.ts";
import {
  type Ca,
  createCa,
  issueGateway,
  issueNode,
  issueOperator,
  type KeyPair,
  parseCa,
} from "@claviger/gateway-core/src/pki/authority.ts";

const day = 24 * 60 * 60 * 1000;

describe("an authority", () => {
  let ca: Ca;
  before(async () => {
    ca = await createCa({ trustDomain: "fleet.example" });
  });

  test("signs itself, may sign leaves only, and names its trust domain", () => {
    const certificate = new X509Certificate(ca.cert);
    assert.ok(certificate.ca);
    assert.ok(certificate.verify(certificate.publicKey));
    assert.equal(certificate.subjectAltName, "URI:spiffe://fleet.example");
    assert.equal(certificate.publicKey.asymmetricKeyDetails?.namedCurve, "prime256v1");
  });

  test("lasts ten years, its leaves ninety days, from a little before now", async () => {
    const clock = (): number => Date.UTC(2026, 0, 1);
    const own = await createCa({ trustDomain: "fleet.example", clock });
    const node = await issueNode({ ca: own, cluster: "a", node: "n", clock });
    assert.equal(new X509Certificate(own.cert).validToDate.getTime(), clock() + 3650 * day);
    assert.equal(new X509Certificate(node.cert).validToDate.getTime(), clock() + 90 * day);
    assert.equal(new X509Certificate(node.cert).validFromDate.getTime(), clock() - 5 * 60 * 1000);
  });

  test("issues no leaf that outlives it, and none once it has expired", async () => {
    const short = await createCa({ trustDomain: "fleet.example", validity: 1 });
    const leaf = await issueNode({ ca: short, cluster: "a", node: "n" });
    assert.equal(new X509Certificate(leaf.cert).validTo, new X509Certificate(short.cert).validTo);
    await assert.rejects(
      issueNode({ ca: short, cluster: "a", node: "n", clock: () => Date.now() + 2 * day }),
      /expired/,
    );
  });

  test("names nodes, operators and gateways as the gateway reads them", async () => {
    const [node, operator, gateway] = await Promise.all([
      issueNode({ ca, cluster: "prod-eu", node: "cp-1.example" }),
      issueOperator({ ca, name: "alice" }),
      issueGateway({ ca, dnsNames: ["kms.example"], ips: ["127.0.0.1", "::1"] }),
    ]);
    const [n, o, g] = [node, operator, gateway].map(({ cert }) => new X509Certificate(cert));
    assert.ok(n !== undefined && o !== undefined && g !== undefined);
    const domain = trustDomain.parse("fleet.example");
    const { kind, serial } = readIdentity(n, domain);
    assert.deepEqual([kind, serial], ["node", n.serialNumber]);
    assert.equal(n.subjectAltName, "URI:spiffe://fleet.example/cluster/prod-eu/node/cp-1.example");
    assert.equal(readIdentity(o, domain).kind, "operator");
    assert.equal(
      g.subjectAltName,
      "URI:spiffe://fleet.example/gateway, DNS:kms.example, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
    );
    assert.throws(() => readIdentity(g, domain), { reason: "identity_invalid" });
    const [clientAuth, serverAuth] = ["1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1"];
    // Node calls the extended key usage `keyUsage`.
    assert.deepEqual([n.keyUsage, o.keyUsage, g.keyUsage], [[clientAuth], [clientAuth], [serverAuth]]);
    const issuer = new X509Certificate(ca.cert);
    for (const leaf of [n, o, g]) {
      assert.ok(leaf.checkIssued(issuer) && leaf.verify(issuer.publicKey) && !leaf.ca);
      assert.match(leaf.serialNumber, /^[4-7][0-9A-F]{31}$/);
    }
    assert.equal(new Set([n, o, g].map(({ serialNumber }) => serialNumber)).size, 3);
  });

  test("takes a node name of the full 253 characters", async () => {
    const node = `${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(61)}`;
    const { cert } = await issueNode({ ca, cluster: "a", node });
    assert.equal(new X509Certificate(cert).subjectAltName, `URI:spiffe://fleet.example/cluster/a/node/${node}`);
  });

  test("refuses names that break the rules, and gateways without an address", async () => {
    await assert.rejects(createCa({ trustDomain: "Fleet/Example" }), TypeError);
    await assert.rejects(issueNode({ ca, cluster: "a/node/b", node: "n" }), TypeError);
    await assert.rejects(issueNode({ ca, cluster: "a", node: "" }), TypeError);
    await assert.rejects(issueOperator({ ca, name: "Alice" }), TypeError);
    await assert.rejects(issueGateway({ ca }), /DNS name or an IP/);
    await assert.rejects(issueGateway({ ca, ips: ["localhost"] }), TypeError);
    await assert.rejects(issueGateway({ ca, dnsNames: ["a, URI:spiffe://x"] }), TypeError);
    await assert.rejects(issueNode({ ca, cluster: "a", node: "n", validity: 0 }), TypeError);
  });

  test("is read back from its PEM, and refused with a key that is not its own", async () => {
    const again = parseCa(ca);
    assert.equal(again.trustDomain, "fleet.example");
    const other = await createCa({ trustDomain: "fleet.example" });
    assert.throws(() => parseCa({ cert: ca.cert, key: other.key }), /does not belong/);
    const leaf = await issueNode({ ca, cluster: "a", node: "n" });
    assert.throws(() => parseCa(leaf), /not an authority/);
  });

  test("shows no private key when it is printed", () => {
    assert.ok(ca.key.use((pem) => pem.startsWith("-----BEGIN PRIVATE KEY-----\n")));
    assert.doesNotMatch(`${inspect(ca)} ${JSON.stringify(ca)} ${String(ca.key)}`, /PRIVATE KEY/);
  });

  test("lets gateway and node meet over TLS 1.3, and nobody of another authority", async () => {
    const foreign = await createCa({ trustDomain: "fleet.example" });
    const [server, node, stranger] = await Promise.all([
      issueGateway({ ca, ips: ["127.0.0.1"] }),
      issueNode({ ca, cluster: "a", node: "n" }),
      issueNode({ ca: foreign, cluster: "a", node: "n" }),
    ]);
    assert.equal(await handshake({ ca, server, client: node }), "URI:spiffe://fleet.example/cluster/a/node/n");
    await assert.rejects(handshake({ ca, server, client: stranger }));
    // A node's certificate does not serve, a gateway's does not call.
    await assert.rejects(handshake({ ca, server: node, client: node }));
    await assert.rejects(handshake({ ca, server, client: server }));
  });
});

/** What the server read from the client's certificate. */
async function handshake({
  ca,
  server,
  client,
}: {
  readonly ca: Ca;
  readonly server: KeyPair;
  readonly client: KeyPair;
}): Promise<string> {
  const pem = ({ cert, key }: KeyPair): { readonly cert: string; readonly key: string } => ({
    cert,
    key: key.use((text) => text),
  });
  const listener = createServer({
    ...pem(server),
    ca: ca.cert,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: "TLSv1.3",
  });
  listener.on("secureConnection", (socket: TLSSocket) =>
    socket.end(socket.getPeerX509Certificate()?.subjectAltName ?? ""),
  );
  listener.on("tlsClientError", () => undefined);
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  try {
    const socket = connect({
      ...pem(client),
      ca: ca.cert,
      host: "127.0.0.1",
      port: (listener.address() as AddressInfo).port,
    });
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    // In TLS 1.3 the client is done before the server has looked at its certificate: a refusal may
    // be a mere end.
    if (chunks.length === 0) throw new Error("the connection was closed");
    return Buffer.concat(chunks).toString();
  } finally {
    listener.close();
  }
}
