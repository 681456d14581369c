// Strings that tenants and operators choose, made to be scripts: they stand on the pages as they were written.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, suite, test } from "node:test";
import { createCertificate } from "@claviger/gateway-core/src/pki/x509.ts";
import { headers, methods } from "@claviger/proto/wire/protocol.ts";
import { Agent, request } from "undici";
import { trustDomain } from "../../lab/fleet.ts";
import { callsOf } from "../../lab/fleet-call.ts";
import { type ConsoleSite, startConsoleSite } from "./site.ts";

/** Each does something that can be seen, where it is more than text. */
const scripts = [
  `<img src=x onerror="window.hostile=1">`,
  `<script>window.hostile=1</script>`,
  `"><svg onload=alert(1)>`,
  `javascript:alert(1)//'-alert(1)-'`,
  `<iframe srcdoc="<script>parent.hostile=1</script>"></iframe>`,
  `{{constructor.constructor('window.hostile=1')()}}`,
  "\u202e<a href=javascript:alert(1)>x</a>",
] as const;

suite("hostile strings in the console", () => {
  let site: ConsoleSite;
  before(async () => {
    site = await startConsoleSite();
    site.ask();
  });
  after(() => site.stop());

  test("reasons, names, labels, and what shims say of themselves are text", async () => {
    const call = await callsOf(site.lab.pki, "ada");
    const { url } = site.fleet;
    const codes: string[] = [];
    for (const text of scripts) {
      // Reasons: of changes that are made, that wait, and that are refused.
      for (const state of ["suspended", "active"])
        codes.push((await call(url, "SetClusterState", { name: "cluster-2", state, reason: text })).code);
      codes.push((await call(url, "RotateKey", { name: "cluster-1", reason: text })).code);
      // Names that there are not stand in the cause of the record.
      codes.push((await call(url, "GetCluster", { name: text })).code);
      codes.push((await call(url, "RevokeNode", { cluster: "cluster-1", node: text, reason: text })).code);
      codes.push(
        (await call(url, "UpdateCluster", { name: "cluster-1", setLabels: { team: text, [text]: "x" }, reason: text }))
          .code,
      );
      codes.push((await call(url, "ApproveChange", { id: text })).code);
    }
    assert.ok(
      codes.includes("ok") && codes.includes("failed_precondition") && codes.includes("not_found"),
      codes.join(),
    );
    // Keys in etcd, and providers of EncryptionConfiguration, are a tenant's: why a key is not retired names them.
    const keyInEtcd = (text: string): string => `/registry/secrets/default/${text}`;
    for (const text of scripts) {
      const { code: refused } = await call(url, "RetireKey", {
        name: "cluster-1",
        beforeVersion: 2,
        reason: text,
        usage: [
          {
            cluster: "cluster-1",
            countedAt: new Date().toISOString(),
            foreign: [{ provider: text, count: 1, examples: [keyInEtcd(text)] }],
            damaged: [keyInEtcd(text)],
            damagedCount: 1,
          },
        ],
      });
      assert.equal(refused, "failed_precondition");
    }
    const { pki } = site.lab;
    const [gateway] = site.lab.gateways;
    for (const text of scripts.filter((one) => /^[\x20-\x7e]*$/.test(one))) {
      // What stands in a certificate beside its identity is for whoever asks for one to choose.
      const certified = async (path: string, dns: readonly string[]): Promise<Agent> => {
        const { cert, key } = await createCertificate({
          commonName: text.slice(0, 64),
          names: { uri: `spiffe://${trustDomain}/${path}`, dns },
          use: "client",
          notBefore: new Date(Date.now() - 60_000),
          notAfter: new Date(Date.now() + 3_600_000),
          issuer: pki.authority,
        });
        return new Agent({ allowH2: false, connect: { ca: readFileSync(pki.ca), cert, key: key.use(String) } });
      };
      for (const path of ["operator/olga", `operator/${text}`, `cluster/cluster-1/node/${text}`]) {
        const operator = await certified(path, [text]);
        const reply = await request(`${url}/claviger.fleet.v1.FleetService/SetClusterState`, {
          method: "POST",
          dispatcher: operator,
          headers: { "content-type": "application/json", "user-agent": text },
          body: JSON.stringify({ name: text, state: "suspended", reason: text }),
        });
        await reply.body.dump();
        assert.ok(reply.statusCode >= 400);
        await operator.close();
      }
      const dispatcher = await certified("cluster/cluster-1/node/node-1", []);
      const reply = await request(`${gateway?.url ?? ""}${methods.status}`, {
        method: "POST",
        dispatcher,
        headers: {
          "content-type": "application/proto",
          "user-agent": text,
          [headers.shim]: `version=${text};phase=0;key=${text};config=${text}`,
        },
        body: "",
      });
      await reply.body.dump();
      assert.equal(reply.statusCode, 200);
      await dispatcher.close();
    }

    const { page, wrong } = await site.consoles.open("anna");
    const [first] = scripts;
    for (const hash of [
      "#/attention",
      "#/overview",
      "#/fleet",
      "#/fleet?q=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&sort=%3Cscript%3E",
      "#/cluster/cluster-1",
      "#/cluster/cluster-2",
      `#/cluster/${encodeURIComponent(first)}`,
      "#/node/cluster-1/node-1",
      `#/node/cluster-1/${encodeURIComponent(first)}`,
      `#/gateway/${encodeURIComponent(first)}`,
      `#/change/${encodeURIComponent(first)}`,
      "#/keys",
      "#/gateways",
      "#/audit",
      "#/changes",
    ]) {
      await page.evaluate(`location.hash = ${JSON.stringify(hash)}`);
      await page.getByText("Reading …").first().waitFor({ state: "detached" });
      assert.equal(await page.evaluate("window.hostile"), undefined, hash);
      assert.equal(
        await page.locator("img, iframe, script:not([src]), [onerror], [onload], a[href^='javascript:']").count(),
        0,
        hash,
      );
    }
    // They are there, as text.
    await page.evaluate("location.hash = '#/changes'");
    for (const text of scripts) await page.getByText(text.trim(), { exact: true }).first().waitFor();
    await page.evaluate("location.hash = '#/audit'");
    await page.getByText(first).first().waitFor();
    // Calls that were refused, whoever made them.
    await page.getByLabel("Method").selectOption("");
    await page.getByLabel("Outcome").selectOption("denied");
    await page.getByRole("button", { name: "Search" }).click();
    await page
      .getByText(/names nobody/)
      .first()
      .waitFor();
    assert.equal(await page.evaluate("window.hostile"), undefined);
    assert.deepEqual(wrong, []);
  });
});
