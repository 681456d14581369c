import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { suite, test } from "node:test";
import { createCa } from "@claviger/gateway-core/src/pki/authority.ts";
import { createNodeCertificates } from "../../../bench/fleet/certificates.ts";

suite("Certificates of simulated nodes", () => {
  test("each has its own names and serial number, and the authority's signature", async () => {
    const ca = await createCa({ trustDomain: "lab.claviger.test" });
    const certificates = await createNodeCertificates(ca, { cluster: "cluster-00001", node: "node-001" });
    const authority = new X509Certificate(ca.cert);
    const serials = new Set<string>();
    for (let i = 1; i <= 300; i += 1) {
      const [cluster, node] = [`cluster-${String(i).padStart(5, "0")}`, `node-${String(i).padStart(3, "0")}`];
      const certificate = new X509Certificate(certificates.issue(cluster, node));
      assert.equal(certificate.subjectAltName, `URI:spiffe://lab.claviger.test/cluster/${cluster}/node/${node}`);
      assert.equal(certificate.subject, `CN=${node} of ${cluster}`);
      assert.ok(certificate.checkIssued(authority) && certificate.verify(authority.publicKey));
      serials.add(certificate.serialNumber);
    }
    assert.equal(serials.size, 300);
  });

  test("names of another length are refused, for nothing else would be right", async () => {
    const ca = await createCa({ trustDomain: "lab.claviger.test" });
    const { issue } = await createNodeCertificates(ca, { cluster: "cluster-1", node: "node-1" });
    assert.throws(() => issue("cluster-10", "node-1"), TypeError);
  });
});
