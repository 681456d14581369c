// What the test of docs/setup.md looks for itself, at the marks of the page.
import assert from "node:assert/strict";
import { join } from "node:path";
import { kmsClient, type KmsClient } from "../../lab/kms.ts";
import { providerName } from "../../lab/encryption.ts";
import { secretPath } from "../../lab/kubernetes.ts";
import { until } from "../../lab/process-group.ts";
import type { Checks, World } from "./follower.ts";
import type { Site } from "./site.ts";

const clusters = ["prod-eu", "prod-us"] as const;
type Cluster = (typeof clusters)[number];

/** How long a suspension may take to be in force, from the end of the command on. */
const suspensionMs = 1000;

/** What stands at one moment, to be compared with later. */
type Before = {
  readonly uids: string;
  readonly keyIds: ReadonlyMap<Cluster, string>;
  /** 32 bytes, encrypted for prod-eu. */
  readonly encrypted: { readonly ciphertext: Uint8Array; readonly keyId: string };
};

const plaintext = Buffer.alloc(32, 7);

/** @param site whose reader follows the page */
export function createChecks(site: Site, { shell, work, endedAt }: World): Checks {
  let before: Before | undefined;
  const earlier = (): Before => {
    assert.ok(before !== undefined, "the page has no check 'first' before this one");
    return before;
  };
  const withKms = async <T>(cluster: Cluster, use: (kms: KmsClient) => Promise<T>): Promise<T> => {
    const kms = kmsClient(join(work, "run", `${cluster}.sock`));
    try {
      return await use(kms);
    } finally {
      kms.close();
    }
  };
  const keyIdOf = (cluster: Cluster): Promise<string> => withKms(cluster, async (kms) => (await kms.status()).keyId);
  const encrypt = (cluster: Cluster): Promise<Before["encrypted"]> => withKms(cluster, (kms) => kms.encrypt(plaintext));
  const decryptFirst = (): Promise<Buffer> => withKms("prod-eu", (kms) => kms.decrypt(earlier().encrypted));
  const uids = async (): Promise<string> => {
    const { status, out } = await shell.run("claviger cluster list --json");
    assert.equal(status, 0, out);
    const records = JSON.parse(out) as { name: string; uid: string }[];
    return records.map(({ name, uid }) => `${name} ${uid}`).join("\n");
  };
  const keyOf = async (cluster: Cluster): Promise<Record<string, unknown>> =>
    (await site.bao.call<{ data: Record<string, unknown> }>("GET", `transit/keys/${cluster}`)).data;
  const stored = async (secret: string): Promise<string> =>
    (await site.etcd.get(secretPath(secret)))?.toString("latin1") ?? "";
  const isEncrypted = async (secret: string, value: string): Promise<void> => {
    const raw = await stored(secret);
    assert.ok(raw.startsWith(`k8s:enc:kms:v2:${providerName}:`), raw.slice(0, 40));
    assert.ok(!raw.includes(value));
  };

  return new Map([
    [
      "first",
      async () => {
        const keyIds = new Map<Cluster, string>();
        for (const cluster of clusters) keyIds.set(cluster, await keyIdOf(cluster));
        before = { uids: await uids(), keyIds, encrypted: await encrypt("prod-eu") };
      },
    ],
    [
      "encrypted",
      async () => {
        await isEncrypted("first", "correct-horse");
        assert.ok((await stored("old")).includes("from-before"), "nobody has written it again yet");
      },
    ],
    ["migrated", () => isEncrypted("old", "from-before")],
    [
      "new-key-ids",
      async () => {
        for (const cluster of clusters) {
          assert.notEqual(await keyIdOf(cluster), earlier().keyIds.get(cluster), cluster);
          assert.equal((await keyOf(cluster))["min_encryption_version"], 2, cluster);
        }
      },
    ],
    [
      "retired",
      async () => {
        assert.equal((await keyOf("prod-eu"))["min_decryption_version"], 2);
        await assert.rejects(decryptFirst());
      },
    ],
    ["unretired", async () => assert.deepEqual(await decryptFirst(), plaintext)],
    [
      "suspended",
      async () => {
        await until("prod-us to be refused", undefined, async () => {
          await encrypt("prod-eu");
          const late = performance.now() - endedAt() > suspensionMs;
          const refusal = await encrypt("prod-us").then(
            () => undefined,
            (error: unknown) => String(error),
          );
          assert.ok(refusal !== undefined || !late, "prod-us is served for more than a second");
          return refusal?.includes("suspended") === true ? true : undefined;
        });
      },
    ],
    [
      "same-uids",
      async () => {
        assert.equal(await uids(), earlier().uids);
        assert.deepEqual(await decryptFirst(), plaintext);
      },
    ],
    [
      "removed",
      async () => {
        assert.equal(await uids(), earlier().uids.split("\n")[0]);
        await assert.rejects(encrypt("prod-us"), /registry/);
        await encrypt("prod-eu");
        const { policy } = (
          await site.bao.call<{ data: { policy: string } }>("GET", "sys/policies/acl/claviger-gateway")
        ).data;
        assert.ok(policy.includes("prod-eu") && !policy.includes("prod-us"), policy);
      },
    ],
  ]);
}
