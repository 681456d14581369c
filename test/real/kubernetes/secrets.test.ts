// The main job on the real kube-apiserver, etcd and OpenBao, for KMS v2 and v1.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { kmsClient } from "../../lab/kms.ts";
import { providerName } from "../../lab/encryption.ts";
import { type ApiServer, type Etcd, secretPath } from "../../lab/kubernetes.ts";
import { type Lab, startLab } from "../../lab/lab.ts";

const canary = Buffer.from("a password that etcd must never see");

async function rawOf(etcd: Etcd, name: string): Promise<Buffer> {
  const raw = await etcd.get(secretPath(name));
  assert.ok(raw !== undefined, `nothing stored for ${name}`);
  return raw;
}

suite("a real kube-apiserver with KMS v2", () => {
  let dir: string;
  let lab: Lab;
  let api: ApiServer;
  let etcd: Etcd;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    lab = await startLab({ dir, kubernetes: true });
    const [first] = lab.kubernetes;
    assert.ok(first !== undefined && lab.etcd !== undefined);
    [api, etcd] = [first, lab.etcd];
  });
  after(async () => {
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
  });

  test("a Secret lies in etcd encrypted through KMS v2, and nothing of its plaintext with it", async () => {
    await api.createSecret("first", canary);
    const raw = await rawOf(etcd, "first");
    assert.ok(
      raw.toString("latin1").startsWith(`k8s:enc:kms:v2:${providerName}:`),
      raw.toString("latin1").slice(0, 60),
    );
    for (const text of [canary.toString(), canary.toString("base64"), canary.toString("hex")])
      assert.ok(!raw.includes(text), text);
    assert.deepEqual(await api.readSecret("first"), canary);
  });

  test("the apiserver restarts, with nothing in memory, and reads it", async () => {
    await api.restart();
    assert.deepEqual(await api.readSecret("first"), canary);
  });

  test("the Transit key is rotated: a new key_id within the interval, on new Secrets; the old one is readable, and rewritten by a no-op update", async () => {
    const kms = kmsClient(api.socket);
    const before = (await kms.status()).keyId;
    await lab.vault?.call("POST", "transit/keys/cluster-1/rotate");
    const rotatedAt = Date.now();
    let now = before;
    while (now === before && Date.now() - rotatedAt < 5000) {
      await sleep(50);
      now = (await kms.status()).keyId;
    }
    const took = Date.now() - rotatedAt;
    kms.close();
    assert.notEqual(now, before);
    // keys.refresh is 1 s in the lab, and propagation at most refresh + 1 s.
    assert.ok(took <= 2500, `${took} ms`);

    // The apiserver sees it at its next probe, which readyz sets off; that is at most 20 s after
    // the last.
    const end = Date.now() + 40_000;
    for (let i = 0; ; i++) {
      await api.call("GET", "/readyz");
      await api.createSecret(`rotated-${i}`, canary);
      if ((await rawOf(etcd, `rotated-${i}`)).includes(now)) break;
      assert.ok(Date.now() < end, "no new Secret carries the new key_id");
      await sleep(1000);
    }
    assert.ok((await rawOf(etcd, "first")).includes(before));
    assert.deepEqual(await api.readSecret("first"), canary);
    await api.touchSecret("first");
    const rewritten = await rawOf(etcd, "first");
    assert.ok(rewritten.includes(now) && !rewritten.includes(before));
    await api.restart();
    assert.deepEqual(await api.readSecret("first"), canary);
  });
});

suite("a real kube-apiserver with KMS v1", () => {
  test("a Secret goes through KMS v1 on the same kind of socket, and survives a restart", async () => {
    const dir = await mkdtemp(join(tmpdir(), "claviger-"));
    const lab = await startLab({ dir, kubernetes: true, kms: "v1", redis: false });
    try {
      const [api] = lab.kubernetes;
      assert.ok(api !== undefined && lab.etcd !== undefined);
      await api.createSecret("old", canary);
      const raw = await rawOf(lab.etcd, "old");
      assert.ok(raw.toString("latin1").startsWith(`k8s:enc:kms:v1:${providerName}:`));
      assert.ok(!raw.includes(canary));
      await api.restart();
      assert.deepEqual(await api.readSecret("old"), canary);
    } finally {
      await lab.stop();
      await rm(dir, { recursive: true, force: true });
    }
  });
});
