// What needs a person is on the page within seconds, and off it when it is over.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, suite, test } from "node:test";
import { issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { headers, methods } from "@claviger/proto/wire/protocol.ts";
import { Agent, request } from "undici";
import { readyLine } from "../../lab/process-group.ts";
import { atMost } from "../../lab/promised.ts";
import { type ConsoleSite, picture, startConsoleSite, type Watched } from "./site.ts";

const soonMs = atMost(5000);

suite("what needs a person", () => {
  let site: ConsoleSite;
  let shown: Watched;
  let stopAsking: () => void;

  before(async () => {
    site = await startConsoleSite();
    stopAsking = site.ask();
    shown = await site.consoles.open("ada");
    // A machine that is busy may make a gateway's core busy: that is no fault here.
    await shown.page.getByRole("heading", { level: 1, name: "Attention" }).waitFor();
  });
  after(() => site.stop());

  const item = (text: string | RegExp) => shown.page.getByRole("listitem").filter({ hasText: text });
  const named = async (what: string, text: string | RegExp, ms = soonMs): Promise<void> => {
    const at = Date.now();
    await item(text).first().waitFor({ timeout: ms });
    console.log(`${what}: named after ${Date.now() - at} ms`);
  };
  const dropped = async (what: string, text: string | RegExp, ms = soonMs): Promise<void> => {
    const at = Date.now();
    await item(text).first().waitFor({ state: "detached", timeout: ms });
    console.log(`${what}: dropped after ${Date.now() - at} ms`);
  };

  test("a gateway that is killed", async () => {
    const [, gateway] = site.lab.gateways;
    assert.ok(gateway !== undefined);
    gateway.proc.child.kill("SIGKILL");
    await site.lab.processes.stop(gateway.proc);
    await named("a gateway that is killed", "A gateway is silent");
    await readyLine(site.lab.processes.start(gateway.proc.name, gateway.proc.argv));
    await dropped("a gateway that is killed", "A gateway is silent");
  });

  test("a Vault that is sealed, and the outage that it is to shims", async () => {
    const { vault } = site.lab;
    assert.ok(vault !== undefined);
    await vault.call("PUT", "sys/seal");
    await named("a Vault that is sealed", "A backend is down");
    await named("an outage", /Outage/);
    await picture(shown.page, "attention", "dark");
    await vault.unseal();
    await dropped("a Vault that is sealed", "A backend is down");
    await dropped("an outage", /Outage/);
  });

  test("a node that is revoked", async () => {
    const revoked = await site.run("olga", "node", "revoke", "cluster-2/node-2", "--reason", "a test");
    assert.equal(revoked.status, 0, revoked.err);
    await named("a node that is revoked", "A node is revoked");
    const allowed = await site.run("ada", "node", "allow", "cluster-2/node-2", "--reason", "a test");
    assert.equal(allowed.status, 0, allowed.err);
    await dropped("a node that is revoked", "A node is revoked");
  });

  test("a certificate that is about to expire", async () => {
    stopAsking();
    const [gateway] = site.lab.gateways;
    assert.ok(gateway !== undefined);
    /** A Status of the node with a certificate of so many minutes, of which some have passed. */
    const statusWith = async (life: { readonly minutes: number; readonly passed: number }): Promise<void> => {
      const { pki } = site.lab;
      const { cert, key } = await issueNode({
        ca: pki.authority,
        cluster: "cluster-1",
        node: "node-1",
        validity: life.minutes / 1440,
        clock: () => Date.now() - life.passed * 60_000,
      });
      const dispatcher = new Agent({
        allowH2: false,
        connect: { ca: readFileSync(pki.ca), cert, key: key.use(String) },
      });
      const reply = await request(`${gateway.url}${methods.status}`, {
        method: "POST",
        dispatcher,
        headers: { "content-type": "application/proto", [headers.shim]: "version=0.2.0;phase=0" },
        body: "",
      });
      await reply.body.dump();
      await dispatcher.close();
      assert.equal(reply.statusCode, 200);
    };
    await statusWith({ minutes: 110, passed: 100 });
    await named("a certificate that is about to expire", "A certificate expires");
    await statusWith({ minutes: 110, passed: 10 });
    await dropped("a certificate that is about to expire", "A certificate expires");
    assert.deepEqual(shown.wrong, []);
  });
});
