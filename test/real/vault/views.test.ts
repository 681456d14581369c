// A Vault that answers from an older state: a follower that its leader does not reach, and a backup
// that was restored. The one is an outage, the other a rotation or an operator's command. (Findings V1
// and V2 of the trial; docs/architecture.md #keys and #rotation.)
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { newClusterUid } from "@claviger/gateway-core/src/registry/edit/uid.ts";
import { request } from "undici";
import { stringify } from "yaml";
import { type Proxy, startFaultyTcp } from "../../lab/faulty.ts";
import { claviger } from "../cli/claviger.ts";
import { createPki, type LabGateway, type LabShim, type Pki, startGateway, startShim } from "../../lab/fleet.ts";
import { kmsClient, type KmsClient } from "../../lab/kms.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { type AppRoleFiles, setUpTransit } from "../../lab/openbao.ts";
import { createProcessGroup, logOf, type ProcessGroup, until } from "../../lab/process-group.ts";
import { type Raft, type RaftNode, startRaft } from "../../lab/raft.ts";
import { type RedisServer, startRedis } from "../../lab/redis.ts";

const awayMs = process.env["CLAVIGER_TEST_FULL"] === "1" ? 600_000 : 8000;
const plaintext = randomBytes(32);

async function keyIdOf(client: KmsClient): Promise<string> {
  const { healthz, keyId } = await client.status();
  assert.equal(healthz, "ok");
  return keyId;
}
/** What is logged of a key that went back, or was rotated, whoever was it. */
function alarmsOf(gateways: readonly LabGateway[]): readonly string[] {
  return gateways.flatMap(({ proc }) =>
    logOf(proc)
      .split("\n")
      .filter((line) => /"event":"key-(?:rolled-back|lost|replaced|fell-back)"/.test(line)),
  );
}

suite("a follower that its leader does not reach", () => {
  const modes = ["auto", "manual"] as const;
  let dir: string;
  let processes: ProcessGroup;
  let raft: Raft;
  let leader: RaftNode;
  let follower: RaftNode;
  let redis: RedisServer;
  let pki: Pki;
  let approles: ReadonlyMap<string, AppRoleFiles>;
  /** What the gateways reach: a relay to each node. */
  let relays: ReadonlyMap<string, Proxy>;
  let gateways: readonly LabGateway[];
  let shims: readonly LabShim[];
  let clients: readonly KmsClient[];

  /** By a node's own view; the leader's when none is named. */
  const versionsOf = async (node?: RaftNode): Promise<readonly number[]> =>
    await Promise.all(
      modes.map(async (mode) => {
        const path = `transit/keys/${mode}`;
        return (await raft.call<{ data: { latest_version: number } }>("GET", path, undefined, [200], node)).data
          .latest_version;
      }),
    );

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    processes = createProcessGroup(dir);
    [raft, redis, pki] = await Promise.all([startRaft(processes, dir), startRedis(processes, dir), createPki(dir)]);
    const names = ["alone", "pair-1", "pair-2"];
    approles = await setUpTransit(raft, modes, names, dir);
    leader = await raft.leader();
    const found = raft.nodes.find((node) => node !== leader);
    assert.ok(found !== undefined);
    follower = found;
    relays = new Map(
      await Promise.all(
        raft.nodes.map(async ({ addr }) => [addr, await startFaultyTcp(() => Number(new URL(addr).port))] as const),
      ),
    );
    const registry = join(dir, "clusters.yaml");
    const records = modes.map((mode) => ({
      name: mode,
      uid: newClusterUid(),
      state: "active",
      rotation: mode,
      keys: [{ backend: "main", mount: "transit", key: mode }],
    }));
    writeFileSync(registry, stringify({ clusters: records }), { mode: 0o600 });
    // Somebody pins a key that no gateway may promote by itself.
    await raft.call("POST", "transit/keys/manual/config", { min_encryption_version: 1 });
    const addresses = [leader, follower].map(({ addr }) => `http://127.0.0.1:${relays.get(addr)?.port}`);
    gateways = await Promise.all(
      names.map(async (name) => {
        const approle = approles.get(name);
        assert.ok(approle !== undefined);
        const vault = { addresses, approle };
        return await startGateway({ processes, dir, name, pki, registry, vault, ...(name !== "alone" && { redis }) });
      }),
    );
    const [alone, ...pair] = gateways.map(({ url }) => url);
    shims = await Promise.all(
      modes.flatMap((cluster) =>
        [["alone", [alone ?? ""]] as const, ["pair", pair] as const].map(([node, urls]) =>
          startShim({ processes, dir, cluster, node, pki, gateways: urls }),
        ),
      ),
    );
    clients = shims.map(({ socket }) => kmsClient(socket));
  });
  after(async () => {
    for (const client of clients) client.close();
    await processes.stopAll();
    await Promise.all([...relays.values()].map((relay) => relay.close()));
    await raft.close();
    await rm(dir, { recursive: true });
  });

  const isQuiet = "no rotation, no refusal, no false alarm";
  test(`leader away for ${awayMs / 1000} s, and back: ${isQuiet}`, { timeout: awayMs + 300_000 }, async () => {
    const first = await Promise.all(clients.map(keyIdOf));
    await follower.reach(false);
    for (const mode of modes) await raft.call("POST", `transit/keys/${mode}/rotate`);
    await raft.call("POST", "transit/keys/manual/config", { min_encryption_version: 2 });
    const shown = await Promise.all(
      clients.map((client, i) =>
        until("the new key_id", undefined, async () => {
          const keyId = await keyIdOf(client);
          return keyId === first[i] ? undefined : keyId;
        }),
      ),
    );
    assert.deepEqual(await versionsOf(), [2, 2]);
    // The follower goes on answering from before.
    assert.deepEqual(await versionsOf(follower), [1, 1]);

    for (const { addr } of raft.nodes) if (addr !== follower.addr) await relays.get(addr)?.set("refuse");
    const refusals = new Set<string>();
    for (const end = Date.now() + awayMs; Date.now() < end; await sleep(100))
      await Promise.all(
        clients.map(async (client, i) => {
          assert.equal(await keyIdOf(client), shown[i]);
          await client.encrypt(plaintext, 1500).catch((error: unknown) => {
            const { code, details } = error as { readonly code: number; readonly details: string };
            // UNAVAILABLE and DEADLINE_EXCEEDED are an outage.
            if (code !== 14 && code !== 4) refusals.add(`${code} ${details}`);
          });
        }),
      );
    assert.deepEqual([...refusals], []);
    assert.deepEqual(alarmsOf(gateways), []);

    for (const relay of relays.values()) await relay.set("none");
    for (const client of clients)
      await until("service", undefined, () => client.encrypt(plaintext).catch(() => undefined));
    await follower.reach(true);
    for (const [i, client] of clients.entries()) assert.equal(await keyIdOf(client), shown[i]);
    assert.deepEqual(await versionsOf(), [2, 2]);
    assert.deepEqual(alarmsOf(gateways), []);
  });
});

type Stop = "both" | "one" | "none";

suite("a Vault that is restored from a backup", () => {
  for (const rotation of ["auto", "manual"] as const)
    for (const stopped of ["none", "one", "both"] as const)
      test(`${rotation}, while ${stopped === "none" ? "both gateways run" : `${stopped} of the gateways ${stopped === "one" ? "is" : "are"} stopped`}`, () =>
        restore(rotation, stopped));

  async function restore(rotation: "auto" | "manual", stopped: Stop): Promise<void> {
    const dir = await mkdtemp(join(tmpdir(), "claviger-"));
    const lab = await startLab({ dir, gateways: 2, shims: 1 });
    const client = kmsClient(lab.shims[0]?.socket ?? "");
    try {
      await inLab(lab, client, rotation, stopped);
    } finally {
      client.close();
      await lab.stop();
      await rm(dir, { recursive: true, force: true });
    }
  }

  async function inLab(lab: Lab, client: KmsClient, rotation: "auto" | "manual", stopped: Stop): Promise<void> {
    const { vault } = lab;
    assert.ok(vault !== undefined);
    const key = "transit/keys/cluster-1";
    const changed = (from: string): Promise<string> =>
      until(
        "another key_id",
        undefined,
        async () => {
          const { keyId } = await client.status();
          return keyId === from ? undefined : keyId;
        },
        15_000,
      );
    const first = await keyIdOf(client);
    if (rotation === "manual") {
      const text = readFileSync(lab.registry, "utf8");
      writeFileSync(lab.registry, text.replace("rotation: auto", "rotation: manual"));
    }
    const token = readFileSync(vault.tokenFile, "utf8");
    const headers = { "x-vault-token": token };
    const snapshot = await request(`${vault.addr}/v1/sys/storage/raft/snapshot`, { headers });
    assert.equal(snapshot.statusCode, 200);
    const backup = Buffer.from(await snapshot.body.arrayBuffer());

    await vault.call("POST", `${key}/rotate`);
    if (rotation === "manual") await vault.call("POST", `${key}/config`, { min_encryption_version: 2 });
    const lost = await changed(first);

    const ended = lab.gateways.slice(0, stopped === "both" ? 2 : stopped === "one" ? 1 : 0);
    await Promise.all(ended.map(({ proc }) => lab.processes.stop(proc)));
    const restored = await request(`${vault.addr}/v1/sys/storage/raft/snapshot-force`, {
      method: "POST",
      headers,
      body: backup,
    });
    assert.equal(restored.statusCode, 204);
    await restored.body.dump();
    await until("OpenBao to serve again", vault.proc(), async () =>
      (await request(`${vault.addr}/v1/sys/health`).catch(() => undefined))?.statusCode === 200 ? true : undefined,
    );
    await Promise.all(ended.map(({ proc }) => lab.processes.restart(proc)));

    if (rotation === "auto") assert.notEqual(await changed(lost), first, "a key_id that was never shown");
    else {
      // The operator's one command, as the error and the log name it.
      await until("the alarm", undefined, async () => {
        await client.status();
        return lab.gateways.some(({ proc }) => logOf(proc).includes('"event":"key-rolled-back"')) ? true : undefined;
      });
      assert.equal((await client.status()).keyId, lost);
      await assert.rejects(client.encrypt(plaintext), /rolled|older version/);
      const { status, out, err } = await claviger(["key", "rotate", "cluster-1", "--above", "2", "--lab", lab.file]);
      assert.equal(status, 0, err);
      assert.match(out, /version 3 encrypts from now on/);
      assert.notEqual(await changed(lost), first);
    }
    assert.deepEqual(await client.decrypt(await client.encrypt(plaintext)), plaintext);
  }
});
