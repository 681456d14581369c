// A node's certificate is stolen: what `claviger node` says holds at both gateways within a second, on
// the connections that are open, and nobody else notices. (docs/architecture.md #registry.)
import assert from "node:assert/strict";
import { randomBytes, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { kmsClient, type KmsClient } from "../../lab/kms.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { openThief, type Thief } from "../../lab/thief.ts";
import { claviger } from "../cli/claviger.ts";

const promisedMs = 1000;

suite("nodes of a registry", () => {
  let dir: string;
  let lab: Lab;
  let client: KmsClient;
  /** A connection to each gateway with the certificate of the lab's shim, held open by whoever stole it. */
  let thieves: readonly Thief[];
  let serial: string;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    lab = await startLab({ dir, clusters: 2, shims: 2, gateways: 2, backend: "embedded", redis: false });
    client = kmsClient(lab.shims[0]?.socket ?? "");
    const { cert, key } = await lab.pki.node("cluster-1", "stolen");
    serial = new X509Certificate(readFileSync(cert)).serialNumber;
    const loot = { ca: readFileSync(lab.pki.ca), cert: readFileSync(cert), key: readFileSync(key) };
    thieves = lab.gateways.map(({ url }) => openThief(url, loot));
  });
  after(async () => {
    client.close();
    await Promise.all(thieves.map((thief) => thief.close()));
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const say = async (...args: readonly string[]): Promise<string> => {
    const { status, out, err } = await claviger(["node", ...args, "--lab", lab.file]);
    assert.equal(status, 0, err);
    return out;
  };
  /** Waits until every gateway answers so; the command has waited for their word, which is less than the promise. */
  const everywhere = async (wanted: string): Promise<void> => {
    for (const end = performance.now() + promisedMs; ; await sleep(10)) {
      const answers = await Promise.all(thieves.map((thief) => thief.status()));
      if (answers.every((answer) => answer === wanted)) return;
      assert.ok(performance.now() < end, `${JSON.stringify(answers)} and not ${wanted}`);
    }
  };

  test("a name, a serial and names that are expected are refused everywhere, on open connections, until they are allowed", async () => {
    await everywhere("ok");
    const sealed = await client.encrypt(randomBytes(32));
    let served = 0;
    let isOver = false;
    const others = (async () => {
      for (; !isOver; await sleep(20)) {
        assert.equal((await client.status()).healthz, "ok");
        assert.equal((await client.decrypt(sealed)).length, 32);
        served += 1;
      }
    })();
    assert.match(await say("revoke", "cluster-1/stolen"), /^node stolen of cluster-1 is revoked, in .*\nIn force at /);
    await everywhere("node_revoked");
    assert.match(await say("revoke", "cluster-1/stolen"), /is revoked already; nothing was changed/);
    await say("allow", "cluster-1/stolen");
    await everywhere("ok");
    await say("revoke", "cluster-1", "--serial", serial.toLowerCase());
    await everywhere("node_revoked");
    await say("allow", "cluster-1", "--serial", serial);
    await everywhere("ok");
    await say("expect", "cluster-1", "node-1", "node-2");
    await everywhere("node_unexpected");
    await say("expect", "cluster-1", "--any");
    await everywhere("ok");
    isOver = true;
    await others;
    assert.ok(served > 20, `${served} rounds of the cluster's own node`);
    assert.deepEqual(
      thieves.map((thief) => thief.connections()),
      [1, 1],
      "the connections of the beginning are open still",
    );
    const records = lab.gateways.map(({ audit }) => readFileSync(audit, "utf8")).join("");
    assert.match(records, /"outcome":"denied","reason":"node_revoked"[^\n]*"node":"stolen"/);
  });

  test("the shim of a node that is revoked is refused at once, without a grace period", async () => {
    await say("revoke", "cluster-1/node-1");
    for (const end = performance.now() + 3000; ; await sleep(20)) {
      const said = await client.status().then(
        () => "ok",
        (error: unknown) => String(error),
      );
      if (said.includes("revoked")) break;
      assert.ok(performance.now() < end, said);
    }
    await assert.rejects(client.encrypt(randomBytes(32)), { code: 7, details: /node or its certificate is revoked/ });
    await say("allow", "cluster-1/node-1");
    for (const end = performance.now() + 3000; (await client.status().catch(() => undefined)) === undefined; )
      assert.ok(performance.now() < end, "served again");
  });
});
