// Clusters and keys through the fleet service, with its registry in an OpenBao, a Redis, a gateway, a shim and an
// etcd: what operators do by `claviger`, the data plane shows. (docs/control-plane.md.)
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { request } from "undici";
import { encodeStored } from "../../demo/stored.ts";
import { createPki, type LabGateway, type Pki, startGateway, startShim } from "../../lab/fleet.ts";
import { type LabFleetService, setUpFleetVault, startFleetService } from "../../lab/fleet-service.ts";
import { kmsClient, type KmsClient } from "../../lab/kms.ts";
import { type Etcd, secretPath, startEtcd } from "../../lab/kubernetes.ts";
import { gatewayPolicy, integrityKey, type OpenBao, setUpTransit, startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup, type ProcessGroup, until } from "../../lab/process-group.ts";
import { startRedis } from "../../lab/redis.ts";
import { claviger, type CliResult } from "../cli/claviger.ts";

const reason = ["--reason", "a test"] as const;
const registry = { kind: "vault", backend: "main", mount: "kv" } as const;

type Cluster = { readonly name: string; readonly uid: string; readonly etag: string; readonly state: string };
type Keys = { readonly keyId: string; readonly promoted: number; readonly minDecryptionVersion: number };
type Sealed = Awaited<ReturnType<KmsClient["encrypt"]>>;

suite("clusters and keys through the fleet service, with the registry in OpenBao", () => {
  let dir: string;
  let processes: ProcessGroup;
  let pki: Pki;
  let bao: OpenBao;
  let etcd: Etcd;
  let gateway: LabGateway;
  let fleet: LabFleetService;
  let kms: KmsClient;
  /** An object under the first version of the key. */
  let first: Sealed;
  let exported: string;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    processes = createProcessGroup(dir);
    pki = await createPki(dir);
    const [vault, redis, store] = await Promise.all([
      startOpenBao(processes, dir),
      startRedis(processes, dir),
      startEtcd(processes, dir),
    ]);
    [bao, etcd] = [vault, store];
    const approle = (await setUpTransit(bao, ["green", "blue"], ["gateway-1"], dir)).get("gateway-1");
    assert.ok(approle !== undefined);
    const main = await setUpFleetVault(bao, pki, dir, ["green", "blue"]);
    const policy = `${gatewayPolicy(["green", "blue"])}
path "kv/data/registry" { capabilities = ["read"] }
path "kv/data/registry/*" { capabilities = ["read"] }
path "kv/metadata/registry/clusters" { capabilities = ["list"] }
path "kv/metadata/registry/clusters/" { capabilities = ["list"] }`;
    await bao.call("PUT", "sys/policies/acl/claviger-gateway", { policy });
    gateway = await startGateway({
      processes,
      dir,
      name: "gateway-1",
      pki,
      registry: "",
      vault: { addresses: [bao.addr], approle },
      redis,
      extra: { registry },
    });
    fleet = await startFleetService({
      processes,
      dir,
      pki,
      settings: {
        gateways: [gateway.url],
        registry,
        backends: { main },
        tokens: { kind: "vault", backend: "main", mount: "kv" },
        integrity: { backend: "main", mount: "transit", key: integrityKey, version: 1 },
        redis: { kind: "standalone", node: `${redis.host}:${redis.port}`, passwordFile: redis.passwordFile },
        keys: { maxAge: "1h" },
      },
    });
  });
  after(async () => {
    kms?.close();
    await processes.stopAll();
    await rm(dir, { recursive: true, force: true });
  });

  /** As an operator with a context that names the service and the gateway's second listener. */
  const run = async (operator: string, ...args: readonly string[]): Promise<CliResult> => {
    const [, url, , ca, , cert, , key] = await fleet.options(operator);
    const file = join(dir, `${operator}.contexts.yaml`);
    const context = { fleet: { url, ca, cert, key }, gateways: [new URL(gateway.metrics).origin] };
    writeFileSync(file, JSON.stringify({ current: "lab", contexts: { lab: context } }));
    return await claviger(args, { CLAVIGER_CONFIG: file });
  };
  const done = async (operator: string, ...args: readonly string[]): Promise<string> => {
    const { status, out, err } = await run(operator, ...args);
    assert.equal(status, 0, `${args.join(" ")}: ${err}\n${out}`);
    return out;
  };
  const show = async (name: string): Promise<Cluster> =>
    JSON.parse(await done("vera", "cluster", "show", name, "-o", "json")) as Cluster;
  const keys = async (): Promise<Keys> =>
    JSON.parse(await done("vera", "key", "status", "green", "-o", "json")) as Keys;
  const statusOf = async (): Promise<string> => {
    try {
      return (await kms.status()).keyId;
    } catch (error) {
      return `refused ${(error as { readonly code: number }).code}`;
    }
  };

  test("a cluster that is added is in force at the gateway when the command ends, and is served", async () => {
    const key = ["--backend", "main", "--mount", "transit"];
    const added = await done("olga", "cluster", "add", "green", ...key, "--label", "team=green", ...reason);
    assert.match(added, /\nadded through https:\S+\. Next:\n/);
    assert.match(added, /\nIn force at http:\S+, by their own word\./);
    await done("olga", "cluster", "add", "blue", ...key, ...reason);
    const list = JSON.parse(await done("vera", "cluster", "list", "-o", "json")) as readonly Cluster[];
    assert.deepEqual(
      list.map(({ name }) => name),
      ["blue", "green"],
    );
    const document = await bao.call<{ data: { data: { uid: string } } }>("GET", "kv/data/registry/clusters/green");
    assert.equal(document.data.data.uid, list[1]?.uid);
    const shim = await startShim({ processes, dir, cluster: "green", node: "cp-1", pki, gateways: [gateway.url] });
    kms = kmsClient(shim.socket);
    await until("the shim to serve", shim.proc, async () =>
      (await statusOf()).startsWith("clv1.") ? true : undefined,
    );
    first = await kms.encrypt(Buffer.from("the first version"));
    assert.equal((await keys()).keyId, first.keyId);
  });

  test("of two administrators who edit what both have seen, one wins and the other is told", async () => {
    const { etag } = await show("green");
    const edit = (operator: string, limit: string) =>
      run(operator, "cluster", "edit", "green", "--requests-per-second", limit, "--etag", etag, ...reason);
    const both = await Promise.all([edit("ada", "111"), edit("olga", "222")]);
    assert.deepEqual(both.map(({ status }) => String(status)).toSorted(), ["0", "1"]);
    const loser = both.find(({ status }) => status === 1);
    assert.match(loser?.err ?? "", /refuses: .*green was changed (since you looked at it|at the same time)/);
    const winner = both[0]?.status === 0 ? "111" : "222";
    assert.match(await done("vera", "cluster", "show", "green"), new RegExp(`\\nrequests/s +${winner}\\n`));
  });

  test("a rotation through the service is promoted by the gateway, and shown by the shim", async () => {
    const rotated = await done("olga", "key", "rotate", "green", "--wait", ...reason);
    assert.match(rotated, /^green: main: transit\/green has version 2 now\.\nversion 2 encrypts; key_id clv1\./);
    const { keyId, promoted } = await keys();
    assert.equal(promoted, 2);
    await until("the shim to show it", undefined, async () => ((await statusOf()) === keyId ? true : undefined));
    const row = /^green +main: transit\/green +auto +2 +\d+s +2 +1$/m;
    assert.match(await done("vera", "key", "status"), row);
  });

  test("what a node still decrypts is not retired, by the observations in Redis; what nothing needs is", async () => {
    const { ciphertext, keyId } = await kms.encrypt(Buffer.from("the second version"));
    const stored = { provider: "kms", encryptedData: Buffer.alloc(80), annotations: {} };
    await etcd.put(secretPath("two"), encodeStored({ ...stored, keyId, encryptedDekSource: ciphertext }));
    const retire = (operator: string, ...more: readonly string[]) =>
      run(operator, "key", "retire", "green", "--etcd", etcd.url, ...reason, ...more);
    const young = await retire("ada", "--nodes", "1", "--yes");
    assert.match(young.err, /node cp-1 of green has had the new key_id for \d+ s only: wait until it is 300 s/);
    await kms.decrypt(first);
    const used = await until("the observation", undefined, async () => {
      const { err } = await retire("ada", "--nodes-checked", "--yes");
      return /decrypted under an earlier key_id/.test(err) ? err : undefined;
    });
    assert.match(used, /node cp-1 of green decrypted under an earlier key_id \d+ s ago: something still needs it/);
    assert.match((await retire("olga", "--nodes-checked", "--yes")).err, /this takes the role admin; olga is operator/);
    assert.equal((await keys()).minDecryptionVersion, 1);
    // Of the other cluster's key nothing is known that speaks against it.
    await done("ada", "key", "promote", "blue", ...reason);
    await done("ada", "key", "rotate", "blue", ...reason);
    await done("ada", "key", "promote", "blue", ...reason);
    const uncounted = await run("ada", "key", "retire", "blue", "--etcd", etcd.url, "--nodes-checked", ...reason);
    assert.match(uncounted.err, /the etcd of cluster blue holds no object that Claviger encrypted for it/);
    const back = await done("ada", "key", "unretire", "green", "--from", "1", ...reason);
    assert.match(back, /version 1 decrypts already; nothing was changed/);
  });

  test("a cluster that is removed comes back with its own record alone, and then opens what it has encrypted", async () => {
    exported = join(dir, "export.yaml");
    await done("ada", "cluster", "suspend", "green", ...reason);
    writeFileSync(exported, await done("vera", "cluster", "export"));
    const before = await show("green");
    const removed = await done("ada", "cluster", "remove", "green", "--yes", ...reason);
    assert.match(removed, /\ngreen is removed from https:\S+\. Next: claviger vault init --yes/);
    assert.match(removed, /In force at http/);
    assert.match(await statusOf(), /^refused /);
    const add = ["--backend", "main", "--mount", "transit", "--uid", before.uid, ...reason];
    for (const name of ["green", "teal"]) {
      const { err } = await run("ada", "cluster", "add", name, ...add);
      assert.match(err, /refuses: \w+: the uid \S+ is that of (the )?green(,| that) (which )?was removed/);
    }
    const document = await bao.call<{ data: { data: object } }>("GET", `kv/data/registry/uids/${before.uid}`);
    assert.deepEqual(document.data.data, { cluster: "green", generation: 1, removed: true });
    const operator = await run("olga", "cluster", "import", exported, "--restore", ...reason);
    assert.match(operator.err, /this takes the role admin/);
    assert.match(await done("ada", "cluster", "import", exported, "--restore", ...reason), /1 cluster added to https/);
    assert.deepEqual(await show("green"), before);
    await done("ada", "cluster", "resume", "green", ...reason);
    await until("it to be served", undefined, async () => ((await statusOf()).startsWith("clv1.") ? true : undefined));
    assert.equal((await kms.decrypt(first)).toString(), "the first version");
  });

  test("the service's own token changes keys, and can neither encrypt nor decrypt with them", async () => {
    const token = readFileSync(join(dir, "fleet.token"), "utf8");
    const call = async (path: string, body: object): Promise<number> => {
      const reply = await request(`${bao.addr}/v1/${path}`, {
        method: "POST",
        headers: { "content-type": "application/json", "x-vault-token": token },
        body: JSON.stringify(body),
      });
      await reply.body.dump();
      return reply.statusCode;
    };
    const plaintext = Buffer.from("x").toString("base64");
    for (const [path, body] of [
      ["transit/encrypt/green", { plaintext }],
      ["transit/decrypt/green", { ciphertext: "vault:v1:AAAA" }],
      ["transit/keys/green/config", { deletion_allowed: true }],
      ["transit/keys/green/trim", { min_available_version: 2 }],
      ["transit/rewrap/green", { ciphertext: "vault:v1:AAAA" }],
    ] as const)
      assert.equal(await call(path, body), 403, path);
  });

  test("every change has its record, with who and why, and none has a token", () => {
    const text = readFileSync(fleet.audit, "utf8");
    const changes = text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>)
      .filter(
        ({ method, outcome }) =>
          outcome === "ok" && /^(add|update|remove|set|import|rotate|promote)/.test(String(method)),
      );
    assert.ok(changes.length >= 10, String(changes.length));
    for (const { operator, because, target } of changes) {
      assert.ok(["ada", "olga"].includes(String(operator)));
      assert.deepEqual([because, /^(green|blue)(, green)?$/.test(String(target))], ["a test", true], String(target));
    }
    const token = readFileSync(join(dir, "fleet.token"), "utf8");
    assert.ok(!text.includes(token));
    assert.ok(!readFileSync(join(dir, "fleet.log"), "utf8").includes(token));
  });
});
