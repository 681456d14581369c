// Gateways that learn of a rotation seconds apart, with nothing between them but Vault: what an
// apiserver would have to throw away. (docs/architecture.md #keys.)
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { kmsClient, type KmsClient } from "../../lab/kms.ts";
import { startLab } from "../../lab/lab.ts";
import { until } from "../../lab/process-group.ts";

const rotations = 3;
const refreshMs = 2000;

/**
 * Asks as an apiserver that is probed all the time: Status, then Encrypt, whose key_id must be the
 * same or its answer is thrown away.
 */
function probe(client: KmsClient) {
  const shown: string[] = [];
  let discarded = 0;
  let probes = 0;
  let isStopped = false;
  const run = async (): Promise<void> => {
    for (; !isStopped; await sleep(20)) {
      const { keyId } = await client.status();
      if (keyId !== shown.at(-1)) shown.push(keyId);
      const encrypted = await client.encrypt(randomBytes(32));
      probes += 1;
      if (encrypted.keyId !== keyId) discarded += 1;
    }
  };
  const runner = run();
  runner.catch(() => {});
  return {
    shown,
    async stop() {
      isStopped = true;
      await runner;
      return { discarded, probes };
    },
  };
}

test("a gateway that lags is corrected by Vault: at most one Encrypt for each shim and rotation names another key_id than Status did", async () => {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const lab = await startLab({
    dir,
    shims: 2,
    gateways: 3,
    redis: false,
    gatewayExtra: { keys: { refresh: `${refreshMs}ms` } },
  });
  try {
    const clients = lab.shims.map(({ socket }) => kmsClient(socket));
    const probing = clients.map(probe);
    const everywhere = (count: number): Promise<true> =>
      until(
        `key_id ${count} everywhere`,
        undefined,
        () => (probing.every(({ shown }) => shown.length === count) ? true : undefined),
        10_000,
      );
    await everywhere(1);
    for (let n = 1; n <= rotations; n++) {
      await lab.vault?.call("POST", "transit/keys/cluster-1/rotate");
      await everywhere(n + 1);
      // Until the last gateway has read the key by itself.
      await sleep(refreshMs * 1.2);
    }
    const results = await Promise.all(probing.map((one) => one.stop()));
    for (const client of clients) client.close();
    console.log(
      results
        .map(
          ({ discarded, probes }, i) =>
            `shim ${i + 1}: ${discarded} of ${probes} Encrypts to throw away over ${rotations} rotations`,
        )
        .join("\n"),
    );
    for (const [i, { discarded }] of results.entries()) {
      assert.ok(discarded <= rotations, `${discarded} on shim ${i + 1}`);
      const ids = probing[i]?.shown ?? [];
      assert.equal(new Set(ids).size, rotations + 1, "each key_id once");
      assert.equal(ids.length, rotations + 1, "and none came back");
    }
  } finally {
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
  }
});
