// Strings that tenants and operators choose, made to be scripts: they stand on the pages as they were written.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, suite, test } from "node:test";
import { headers, methods } from "@claviger/proto/wire/protocol.ts";
import { Agent, request } from "undici";
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
    const [gateway] = site.lab.gateways;
    const { cert, key } = await site.lab.pki.node("cluster-1", "node-1");
    const tls = { ca: readFileSync(site.lab.pki.ca), cert: readFileSync(cert), key: readFileSync(key) };
    const dispatcher = new Agent({ allowH2: false, connect: tls });
    for (const text of scripts.filter((one) => /^[\x20-\x7e]*$/.test(one))) {
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
    }
    await dispatcher.close();

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
    assert.deepEqual(wrong, []);
  });
});
