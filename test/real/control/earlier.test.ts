// What is known of nodes while a fleet is upgraded: shims and gateways of 0.1.0 beside those of now.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { buildEarlier, hasEarlier } from "../../chaos/earlier.ts";
import { createPki, startGateway, startShim, writeRegistry } from "../../lab/fleet.ts";
import { kmsClient } from "../../lab/kms.ts";
import { createProcessGroup, until } from "../../lab/process-group.ts";
import { startRedis } from "../../lab/redis.ts";

async function start(t: TestContext) {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const processes = createProcessGroup(dir);
  t.after(async () => {
    await processes.stopAll();
    await rm(dir, { recursive: true, force: true });
  });
  const earlier = buildEarlier(join(dir, "earlier"));
  const pki = await createPki(dir);
  const registry = writeRegistry(dir, [{ name: "cluster-1", key: "cluster-1" }]);
  return { dir, processes, earlier, pki, registry };
}

/** Encrypts, decrypts and asks for a Status, as a kube-apiserver does. */
async function callAll(socket: string): Promise<void> {
  const kms = kmsClient(socket);
  const seed = Buffer.from("a seed");
  assert.equal((await kms.status()).healthz, "ok");
  assert.deepEqual(await kms.decrypt(await kms.encrypt(seed)), seed);
  // The second one carries what the first has taught.
  assert.equal((await kms.status()).healthz, "ok");
  kms.close();
}

test("a gateway of 0.1.0 answers a shim that says what it is", async (t) => {
  if (!hasEarlier()) return t.skip("this clone has no history of 0.1.0");
  const { earlier, ...site } = await start(t);
  const gateway = await startGateway({ ...site, name: "gateway-1", program: earlier.gateway });
  const shim = await startShim({ ...site, cluster: "cluster-1", node: "node-1", gateways: [gateway.url] });
  return await callAll(shim.socket);
});

test("a shim of 0.1.0 is served, and is seen without a word of itself", async (t) => {
  if (!hasEarlier()) return t.skip("this clone has no history of 0.1.0");
  const { earlier, ...site } = await start(t);
  const redis = await startRedis(site.processes, site.dir);
  const gateway = await startGateway({ ...site, name: "gateway-1", redis });
  const gateways = [gateway.url];
  const shim = await startShim({ ...site, cluster: "cluster-1", node: "node-1", gateways, program: earlier.shim });
  await callAll(shim.socket);
  const admin = redis.connect();
  const value = await until("the node in Redis", gateway.proc, async () => {
    const [key] = await admin.keys("claviger:nodes:*");
    return key === undefined ? undefined : ((await admin.hget(key, "node-1")) ?? undefined);
  });
  admin.disconnect();
  assert.match(value, /"gateway":"[^"]+:\d+","serial":"[0-9A-F]+"/);
  assert.doesNotMatch(value, /shim/);
  const metrics = await (await fetch(gateway.metrics)).text();
  return assert.doesNotMatch(metrics, /^claviger_gateway_malformed_shim_reports_total/m);
});
