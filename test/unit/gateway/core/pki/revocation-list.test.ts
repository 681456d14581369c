// A list of revoked certificates, as OpenSSL reads it. (docs/control-plane.md.)
import assert from "node:assert/strict";
import { once } from "node:events";
import { X509Certificate } from "node:crypto";
import { type AddressInfo } from "node:net";
import { suite, test } from "node:test";
import { connect, createServer } from "node:tls";
import { createCa, issueGateway, issueNode, type KeyPair } from "@claviger/gateway-core/src/pki/authority.ts";
import { createRevocationList } from "@claviger/gateway-core/src/pki/x509.ts";
import { normalSerial } from "@claviger/gateway-core/src/registry/record.ts";

const hour = 3_600_000;
const pem = ({ cert, key }: KeyPair) => ({ cert, key: key.use(String) });

suite("a list of revoked certificates", () => {
  test("is one that OpenSSL refuses those by that are on it, and no other", async (t) => {
    const ca = await createCa({ trustDomain: "fleet.test" });
    const [lost, kept] = await Promise.all(["lost", "kept"].map((node) => issueNode({ ca, cluster: "red", node })));
    assert.ok(lost && kept);
    const serial = normalSerial(new X509Certificate(lost.cert).serialNumber);
    const list = (serials: readonly string[], until = hour) =>
      createRevocationList({
        issuer: ca,
        serials,
        thisUpdate: new Date(Date.now() - hour),
        nextUpdate: new Date(Date.now() + until),
      });
    /** What a server that goes by the list says of a client: nothing, or why it refuses it. */
    const judged = async (crl: string, client: KeyPair): Promise<string> => {
      const server = createServer({
        ...pem(await issueGateway({ ca, ips: ["127.0.0.1"] })),
        ca: ca.cert,
        crl,
        requestCert: true,
        rejectUnauthorized: false,
      });
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      t.after(() => server.close());
      const { port } = server.address() as AddressInfo;
      const socket = connect({ host: "127.0.0.1", port, ca: ca.cert, ...pem(client) });
      const [accepted] = (await once(server, "secureConnection")) as [
        { readonly authorizationError: Error | string | null },
      ];
      socket.destroy();
      return `${accepted.authorizationError ?? ""}`;
    };
    assert.equal(await judged(await list([]), lost), "");
    // As records have them: no leading zero, and what is of other CAs beside it.
    const full = await list(["A", "80", serial, "00FF", "F".repeat(40), serial]);
    assert.equal(await judged(full, lost), "CERT_REVOKED");
    assert.equal(await judged(full, kept), "");
    assert.equal(await judged(await list([serial], -1000), kept), "CRL_HAS_EXPIRED");
    // A list of another authority counts for nothing.
    const other = await createCa({ trustDomain: "fleet.test" });
    const forged = await createRevocationList({
      issuer: other,
      serials: [],
      thisUpdate: new Date(Date.now() - hour),
      nextUpdate: new Date(Date.now() + hour),
    });
    assert.match(await judged(forged, lost), /CRL/);
  });
});
