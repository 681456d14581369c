// Redis in each form that a site may run it in: TLS, Sentinel with a master that dies, Cluster. On
// real redis-servers.
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { createCa, issueGateway } from "@claviger/gateway-core/src/pki/authority.ts";
import { openRedis, redisSchema, type RedisStore } from "@claviger/gateway-core/src/redis/client.ts";
import { checkConfig } from "@claviger/proto/runtime/config.ts";
import { Redis } from "ioredis";
import {
  createProcessGroup,
  freePorts,
  logOf,
  type ProcessGroup,
  type LabProcess,
  until,
} from "../../lab/process-group.ts";
import { findBinary } from "../../parts/find.ts";
import { silent } from "../../unit/gateway/fakes.ts";

const password = "a password of the test";

suite("Redis in every form", () => {
  let dir: string;
  let processes: ProcessGroup;
  let passwordFile: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    processes = createProcessGroup(dir);
    passwordFile = join(dir, "password");
    writeFileSync(passwordFile, password, { mode: 0o600 });
  });
  after(async () => {
    await processes.stopAll();
    await rm(dir, { recursive: true, force: true });
  });

  const startServer = async (
    name: string,
    port: number,
    settings: readonly string[],
    args: readonly string[] = [],
  ): Promise<LabProcess> => {
    const home = join(dir, name);
    mkdirSync(home, { recursive: true });
    const config = join(home, "redis.conf");
    writeFileSync(config, ["bind 127.0.0.1", `dir ${home}`, 'save ""', ...settings, ""].join("\n"), { mode: 0o600 });
    const proc = processes.start(name, [findBinary("redis-server"), config, ...args]);
    await until(`${name} to listen`, proc, () =>
      /Ready to accept connections|monitor master|Sentinel ID/.test(logOf(proc)) ? true : undefined,
    );
    assert.ok(port > 0);
    return proc;
  };
  const withPassword = [`requirepass "${password}"`, `masterauth "${password}"`];
  const admin = (port: number): Redis => new Redis(port, "127.0.0.1", { password, retryStrategy: () => null });

  const open = (settings: Readonly<Record<string, unknown>>): RedisStore =>
    openRedis(checkConfig("the test", { passwordFile, ...settings }, redisSchema), silent);

  const serves = async (store: RedisStore, other: RedisStore): Promise<void> => {
    await store.connected(AbortSignal.timeout(10_000));
    await other.connected(AbortSignal.timeout(10_000));
    // Spread over the slots of a cluster.
    for (const n of [1, 2, 3, 4, 5, 6]) {
      await store.set(`key-${n}`, `value ${n}`, 60_000);
      assert.equal(await other.get(`key-${n}`), `value ${n}`);
      assert.deepEqual(
        [await store.tryAcquire(`claim-${n}`, 60_000), await other.tryAcquire(`claim-${n}`, 60_000)],
        [true, false],
      );
      await store.put(`hash-${n}`, "field", "inside", 60_000);
      assert.deepEqual({ ...(await other.all(`hash-${n}`)) }, { field: "inside" });
    }
    const heard = new Promise<string>((resolve) => other.subscribe("news", resolve));
    // A subscription takes a moment: what is said before it counts for nobody.
    const saying = setInterval(() => void store.publish("news", "hello").catch(() => {}), 50);
    assert.equal(await heard, "hello");
    clearInterval(saying);
    assert.equal(store.health(), "ok");
  };
  const both = async (
    settings: Readonly<Record<string, unknown>>,
    use: (store: RedisStore, other: RedisStore) => Promise<void>,
  ): Promise<void> => {
    const stores = [open(settings), open(settings)] as const;
    try {
      await use(...stores);
    } finally {
      for (const store of stores) store.close();
    }
  };

  test("TLS, with the CA and the server name that are configured, and refused without", async () => {
    const ca = await createCa({ trustDomain: "fleet.example" });
    const server = await issueGateway({ ca, dnsNames: ["redis.example"] });
    const file = (name: string, text: string): string => {
      writeFileSync(join(dir, name), text, { mode: 0o600 });
      return join(dir, name);
    };
    const files = {
      ca: file("ca.crt", ca.cert),
      cert: file("redis.crt", server.cert),
      key: server.key.use((pem) => file("redis.key", pem)),
    };
    const [port = 0] = await freePorts(1);
    await startServer("tls", port, [
      "port 0",
      `tls-port ${port}`,
      `tls-cert-file ${files.cert}`,
      `tls-key-file ${files.key}`,
      `tls-ca-cert-file ${files.ca}`,
      "tls-auth-clients no",
      ...withPassword,
    ]);
    const node = `127.0.0.1:${port}`;
    await both({ kind: "standalone", node, tls: { ca: files.ca, serverName: "redis.example" } }, serves);
    const stranger = open({ kind: "standalone", node, tls: { serverName: "redis.example" } });
    await assert.rejects(stranger.connected(AbortSignal.timeout(1500)), /SELF_SIGNED|UNABLE_TO|certificate/i);
    stranger.close();
  });

  test("Sentinel: the master dies, and the replica that takes over is found without a restart", async () => {
    const [master = 0, replica = 0, sentinel = 0] = await freePorts(3);
    const first = await startServer("master", master, [`port ${master}`, ...withPassword]);
    await startServer("replica", replica, [
      `port ${replica}`,
      `replicaof 127.0.0.1 ${master}`,
      "repl-diskless-sync-delay 0",
      ...withPassword,
    ]);
    const second = admin(replica);
    await until("the replica to follow", undefined, async () =>
      (await second.info("replication")).includes("master_link_status:up") ? true : undefined,
    );
    await startServer(
      "sentinel",
      sentinel,
      [
        `port ${sentinel}`,
        `sentinel monitor fleet 127.0.0.1 ${master} 1`,
        `sentinel auth-pass fleet "${password}"`,
        "sentinel down-after-milliseconds fleet 500",
        "sentinel failover-timeout fleet 3000",
      ],
      ["--sentinel"],
    );
    const watcher = new Redis(sentinel, "127.0.0.1", { retryStrategy: () => null });
    await until("the sentinel to know the replica", undefined, async () =>
      JSON.stringify(await watcher.call("SENTINEL", "replicas", "fleet")).includes(`"${replica}"`) ? true : undefined,
    );
    watcher.disconnect();
    await both({ kind: "sentinel", sentinels: [`127.0.0.1:${sentinel}`], master: "fleet" }, async (store, other) => {
      await serves(store, other);
      process.kill(first.pid, "SIGKILL");
      await until(
        "the new master",
        undefined,
        async () =>
          await store.set("after", "the failover", 60_000).then(
            () => true as const,
            () => undefined,
          ),
        20_000,
      );
      // A replica that becomes the master ends its connections.
      const promoted = admin(replica);
      assert.equal(await promoted.get("claviger:after"), "the failover");
      promoted.disconnect();
    });
    second.disconnect();
  });

  test("Cluster: keys lie on either node, and both are found", async () => {
    const [first = 0, second = 0, firstBus = 0, secondBus = 0] = await freePorts(4);
    const ports = [
      [first, firstBus],
      [second, secondBus],
    ] as const;
    const nodes = await Promise.all(
      ports.map(async ([port, bus], n) => {
        await startServer(`cluster-${n}`, port, [
          `port ${port}`,
          `cluster-port ${bus}`,
          "cluster-enabled yes",
          ...withPassword,
        ]);
        return admin(port);
      }),
    );
    const [one, two] = nodes;
    assert.ok(one !== undefined && two !== undefined);
    await one.call("CLUSTER", "ADDSLOTSRANGE", 0, 8191);
    await two.call("CLUSTER", "ADDSLOTSRANGE", 8192, 16_383);
    await one.call("CLUSTER", "MEET", "127.0.0.1", String(second), String(secondBus));
    for (const node of nodes)
      await until("the cluster to be whole", undefined, async () =>
        String(await node.call("CLUSTER", "INFO")).includes("cluster_state:ok") ? true : undefined,
      );
    await both({ kind: "cluster", nodes: [`127.0.0.1:${first}`] }, serves);
    const sizes = await Promise.all(nodes.map((node) => node.dbsize()));
    assert.ok(
      sizes.every((size) => size > 0),
      `keys on each: ${sizes.join()}`,
    );
    for (const node of nodes) node.disconnect();
  });
});
