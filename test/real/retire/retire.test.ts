// Retiring a version, with real objects of a real kube-apiserver in etcd: while one object needs
// it, nothing gets it retired. (docs/architecture.md #rotation.)
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { encodeStored } from "../../demo/stored.ts";
import { etcdClient } from "../../lab/etcd-client.ts";
import { kmsClient, type KmsClient } from "../../lab/kms.ts";
import { type ApiServer, type Etcd, secretPath } from "../../lab/kubernetes.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { until } from "../../lab/process-group.ts";
import { claviger, type CliResult } from "../cli/claviger.ts";

const value = Buffer.from("what must stay readable");
const quietMs = 2000;
/**
 * A kube-apiserver that is asked for its readiness asks for Status at least this often
 * (docs/kms-contract.md section 1.4).
 */
const probeMs = 25_000;

suite("retiring a version of a key", () => {
  let dir: string;
  let lab: Lab;
  let api: ApiServer;
  let etcd: Etcd;
  let kms: KmsClient;
  let keyId: string;

  const run = (command: string, ...args: readonly string[]): Promise<CliResult> =>
    claviger(["key", command, "cluster-1", "--lab", lab.file, ...args]);
  const retire = (...args: readonly string[]): Promise<CliResult> =>
    run("retire", "--etcd", etcd.url, "--nodes", "1", "--quiet", `${quietMs}ms`, ...args);
  const minDecryption = async (): Promise<number | undefined> =>
    (await lab.vault?.call<{ data: { min_decryption_version: number } }>("GET", "transit/keys/cluster-1"))?.data
      .min_decryption_version;
  /** The node asks for Status for as long as the quiet time. */
  const waitUntilQuiet = async (): Promise<void> => {
    for (const end = Date.now() + quietMs + 500; Date.now() < end; await sleep(200)) await kms.status();
  };
  const storedUnder = async (name: string): Promise<string> =>
    (await etcd.get(secretPath(name)))?.toString("latin1") ?? "";

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    // A second cluster, with a key of its own: none of this is its business.
    lab = await startLab({ dir, kubernetes: true, clusters: 2, shims: 2 });
    const [first] = lab.kubernetes;
    assert.ok(first !== undefined && lab.etcd !== undefined);
    [api, etcd] = [first, lab.etcd];
    kms = kmsClient(api.socket);
    for (const name of ["one", "two"]) await api.createSecret(name, value);
  });
  after(async () => {
    kms.close();
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
  });

  test("the version that encrypts cannot be retired", async () => {
    const { status, err } = await retire("--before", "2");
    assert.equal(status, 1);
    assert.match(err, /version 1 encrypts/);
  });

  test("usage counts the objects under each version as they lie in etcd", async () => {
    const before = (await kms.status()).keyId;
    await lab.vault?.call("POST", "transit/keys/cluster-1/rotate");
    keyId = await until("the new key_id", undefined, async () => {
      const now = (await kms.status()).keyId;
      return now === before ? undefined : now;
    });
    let made = 0;
    await until(
      "the apiserver to write under it",
      undefined,
      async () => {
        await api.call("GET", "/readyz");
        const name = `new-${made++}`;
        await api.createSecret(name, value);
        return (await storedUnder(name)).includes(keyId) ? true : undefined;
      },
      probeMs,
    );
    const { status, out, err } = await run("usage", "--etcd", etcd.url, "--json");
    assert.equal(status, 0, err);
    const { uses, plain } = JSON.parse(out) as {
      uses: { version: number; count: number; keyId: string }[];
      plain: number;
    };
    assert.deepEqual(
      uses.map(({ version, keyId: id }) => [version, id]),
      [
        [1, before],
        [2, keyId],
      ],
    );
    assert.equal(
      uses.reduce((sum, { count }) => sum + count, 0),
      made + 2,
    );
    assert.ok(plain > 0);
    assert.match(
      (await run("usage", "--etcd", etcd.url)).out,
      /main: transit\/cluster-1 +1 .* decrypts +\/registry\/secrets\/default\//,
    );
  });

  test("key status shows the hash under which kube-apiserver's metrics have the key_id", async () => {
    const { keyIdHash } = JSON.parse((await run("status", "--json")).out) as { keyIdHash: string };
    assert.match(keyIdHash, /^sha256:[0-9a-f]{64}$/);
    const { json: metrics } = await api.call<string>("GET", "/metrics");
    const shown = metrics
      .split("\n")
      .filter((line) => line.startsWith("apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds{"));
    assert.ok(
      shown.some((line) => line.includes(`key_id_hash="${keyIdHash}"`)),
      shown.join("\n"),
    );
  });

  const refused = async (reason: RegExp, args: readonly string[] = []): Promise<void> => {
    const { status, err } = await retire("--yes", ...args);
    assert.equal(status, 1);
    assert.match(err, reason);
    assert.equal(await minDecryption(), 1);
  };
  const needed =
    /objects? of cluster cluster-1 still needs? version 1, e\.g\. \/registry\/secrets\/default\/|objects? of cluster cluster-1 still need version 1/;

  test("a version that objects still need cannot be retired", async () => {
    await waitUntilQuiet();
    await refused(needed);
  });

  test("nor with the observations flushed and the apiserver's cache warm, so that nobody has been seen to need it", async () => {
    // The apiserver has the seed: it reads the old objects without a Decrypt, and observations could
    // not know.
    assert.deepEqual(await api.readSecret("one"), value);
    const redis = lab.redis?.connect();
    await redis?.flushall();
    redis?.disconnect();
    assert.deepEqual(await api.readSecret("one"), value);
    await refused(needed, ["--nodes-checked"]);
    await refused(needed);
  });

  test("nor while a node is missing, or has had the new key_id for too short a time, or with no etcd that has the cluster's objects", async () => {
    for (const name of ["one", "two"]) await api.touchSecret(name);
    const { out } = await run("usage", "--etcd", etcd.url, "--json");
    for (const { version, example } of (JSON.parse(out) as { uses: { version: number; example: string }[] }).uses)
      if (version === 1) await api.touchSecret(example.split("/").at(-1) ?? "");
    for (let n = 0; (await storedUnder(`new-${n}`)) !== ""; n++) await api.touchSecret(`new-${n}`);
    await waitUntilQuiet();
    await refused(/1 of 2 nodes of cluster-1 have asked for Status/, ["--nodes", "2"]);
    await refused(/has had the new key_id for \d+ s only/, ["--quiet", "1h"]);
    await refused(/holds no object that Claviger encrypted for it/, ["--prefix", "/elsewhere/"]);
    const nobody = await run("retire", "--etcd", etcd.url, "--yes");
    assert.equal(nobody.status, 1);
    assert.match(nobody.err, /how many control-plane nodes/);
  });

  test("nor while an object of another KMS plugin may be under the same Transit key", async () => {
    const { vault } = lab;
    assert.ok(vault !== undefined);
    const { ciphertext } = (
      await vault.call<{ data: { ciphertext: string } }>("POST", "transit/encrypt/cluster-1", {
        plaintext: Buffer.alloc(32).toString("base64"),
        key_version: 2,
      })
    ).data;
    const foreign = (source: string): Buffer =>
      Buffer.from(
        encodeStored({
          provider: "kleidi",
          encryptedData: Buffer.alloc(80),
          keyId: "kleidi-kms-plugin_1_1727188139",
          encryptedDekSource: Buffer.from(source),
          annotations: {},
        }),
      );
    const key = "/registry/example.com/widgets/one";
    await etcd.put(key, foreign(ciphertext.replace("vault:v2:", "vault:v1:")));
    await refused(/1 object of cluster cluster-1 that KMS plugin kleidi encrypted need version 1 of a Transit key/);
    await etcd.put(key, foreign("opaque"));
    await refused(/that KMS plugin kleidi encrypted do not tell which key they need.*--other-key kleidi/);
    await etcd.put(key, foreign(ciphertext));
  });

  test("nor with a snapshot of which nobody says how old it is", async () => {
    const file = join(dir, "snapshot.db");
    const client = etcdClient(new URL(etcd.url).host);
    await client.saveSnapshot(file);
    client.close();
    const args = ["--etcd-snapshot", file, "--nodes", "1", "--quiet", `${quietMs}ms`];
    const { status, err } = await run("retire", ...args);
    assert.equal(status, 1);
    assert.match(err, /\n {2}- cluster cluster-1 was counted in a snapshot.*--snapshots-checked\n$/);
    assert.equal((await run("retire", ...args, "--snapshots-checked")).status, 0);
    const counts = async (...from: readonly string[]): Promise<unknown> => {
      type Counts = { uses: { version: number; count: number }[]; foreign: { count: number }[]; plain: number };
      const { uses, foreign, plain } = JSON.parse((await run("usage", ...from, "--json")).out) as Counts;
      return [uses.map(({ version, count }) => [version, count]), foreign.map(({ count }) => count), plain];
    };
    assert.deepEqual(await counts("--etcd-snapshot", file), await counts("--etcd", etcd.url));
  });

  test("once the last object is rewritten it can: --yes alone does it, and the objects stay readable, cold too", async () => {
    const look = await retire();
    assert.equal(look.status, 0, look.err);
    assert.match(look.out, /Nothing was changed/);
    assert.equal(await minDecryption(), 1);
    const done = await retire("--yes");
    assert.equal(done.status, 0, done.err);
    assert.match(done.out, /backup/);
    assert.equal(await minDecryption(), 2);
    const again = await retire("--yes");
    assert.deepEqual([again.status, again.err], [0, ""]);
    assert.match(again.out, /nothing was changed/);
    // Transit no longer tells of it.
    assert.match((await run("status")).out, /^1 +retired\n2 .*encrypts$/m);
    await api.restart();
    for (const name of ["one", "two"]) assert.deepEqual(await api.readSecret(name), value);
  });

  test("unretire brings it back", async () => {
    const { status, err } = await run("unretire", "--from", "1");
    assert.equal(status, 0, err);
    assert.equal(await minDecryption(), 1);
    assert.match((await run("unretire", "--from", "1")).out, /nothing was changed/);
    const none = await run("unretire", "--from", "7");
    assert.deepEqual([none.status, none.out], [1, ""]);
    assert.match(none.err, /has no version 7; its latest is 2/);
  });
});
