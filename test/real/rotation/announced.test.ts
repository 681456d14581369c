// Where keys are read seldom, as in a large fleet, what `claviger key` does is seen at once all the same:
// it says so through Redis. (docs/architecture.md #keys.)
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { kmsClient, type KmsClient } from "../../lab/kms.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { until } from "../../lab/process-group.ts";
import { claviger } from "../cli/claviger.ts";

suite("keys that are read every five minutes", () => {
  let dir: string;
  let lab: Lab;
  let client: KmsClient;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    lab = await startLab({ dir, gateways: 2, gatewayExtra: () => ({ keys: { refresh: "5m", canary: "5m" } }) });
    client = kmsClient(lab.shims[0]?.socket ?? "");
  });
  after(async () => {
    client.close();
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
  });

  test("a rotation by the command is promoted and shown within seconds", async () => {
    const { keyId: earlier } = await client.status();
    const rotated = await claviger(["key", "rotate", "cluster-1", "--wait", "--timeout", "20", "--lab", lab.file]);
    assert.equal(rotated.status, 0, rotated.err);
    assert.match(rotated.out, /version 2 encrypts; key_id clv1\./);
    const now = await until("the new key_id", undefined, async () => {
      const { keyId } = await client.status();
      return keyId === earlier ? undefined : keyId;
    });
    assert.ok(rotated.out.includes(now));
    assert.equal((await client.encrypt(Buffer.alloc(32, 1))).keyId, now);
  });
});
