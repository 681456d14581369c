// The list of revoked certificates that the fleet service signs for others. (docs/enrollment.md.)
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { issueOperator } from "@claviger/gateway-core/src/pki/authority.ts";
import { putReports, reportOf } from "./reports.ts";
import { integrityKey, pemOf, startWorld } from "./world.ts";

suite("the list of revoked certificates", () => {
  test("has the serial numbers of all records, and is for those alone who may see all clusters", async (t) => {
    const world = await startWorld(t);
    const as = (name: string) => pemOf(issueOperator({ ca: world.ca, name }));
    const serials = { blue: ["4F3E2D1C0B0A0908", "7C"], red: ["5A5B5C5D5E5F6061"] };
    for (const [cluster, some] of Object.entries(serials)) {
      const { code, message } = await world.call(
        "RevokeNode",
        { cluster, serials: some, reason: "x" },
        await as("ada"),
      );
      assert.equal(code, "ok", message);
    }
    // Of those that are revoked by name, one has come with a certificate, and `gone` of blue with none.
    const byName = "6B6C6D6E6F707172";
    await world.call("RevokeNode", { cluster: "red", node: "n-1", reason: "x" }, await as("ada"));
    const certificate = { serial: byName, notBefore: Date.now() - 1000, notAfter: Date.now() + 1000 };
    putReports(world.redis, integrityKey, "01M8CZX875MFSCYTBWR058VXTH", [
      reportOf("n-1", Date.now(), { certificate }),
      reportOf("n-2", Date.now(), { certificate: { ...certificate, serial: "77" } }),
    ]);
    const { code, json } = await world.call("GetRevocationList", {}, await as("vera"));
    assert.equal(code, "ok");
    const crl = String(json["crl"]);
    assert.match(crl, /^-----BEGIN X509 CRL-----\n/);
    const der = Buffer.from(crl.replaceAll(/-----[^-]+-----/g, ""), "base64")
      .toString("hex")
      .toUpperCase();
    assert.deepEqual(json["withoutSerial"], ["blue/gone"]);
    assert.equal(der.includes("020177"), false, "of a node that is not revoked");
    for (const serial of [...Object.values(serials).flat(), byName])
      assert.ok(der.includes(`02${(serial.length / 2).toString(16).padStart(2, "0")}${serial}`), serial);
    const refused = await world.call("GetRevocationList", {}, await as("bob"));
    assert.equal(refused.code, "permission_denied");
    assert.match(refused.message, /^a revocation list is of all clusters; the role of bob is for team=blue$/);
  });
});
