// Redis in each form that a site may run it in: TLS, Sentinel with a master that dies, Cluster. On
// real redis-servers.
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { createCa, issueGateway, issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { redisSchema } from "@claviger/gateway-core/src/redis/config.ts";
import { openRedis, type RedisStore } from "@claviger/gateway-core/src/redis/client.ts";
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
      // As histories are kept: the steps of a gateway, of which some are read.
      const steps = { 1: `step 1 of ${n}`, 2: `step 2 of ${n}`, 3: `step 3 of ${n}` };
      await store.putAll(`history:gateway-${n}:8443`, steps, 60_000);
      const some = await other.some(`history:gateway-${n}:8443`, ["3", "7", "1"]);
      assert.deepEqual(some, [steps[3], null, steps[1]]);
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

  const file = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text, { mode: 0o600 });
    return join(dir, name);
  };
  /** A CA, the pair of a server of the name redis.example, and one for its clients. */
  const certificates = async (name: string) => {
    const ca = await createCa({ trustDomain: "fleet.example" });
    const server = await issueGateway({ ca, dnsNames: ["redis.example"] });
    const client = await issueNode({ ca, cluster: "prod", node: "gateway" });
    return {
      ca: file(`${name}-ca.crt`, ca.cert),
      cert: file(`${name}.crt`, server.cert),
      key: server.key.use((pem) => file(`${name}.key`, pem)),
      clientCert: file(`${name}-client.crt`, client.cert),
      clientKey: client.key.use((pem) => file(`${name}-client.key`, pem)),
    };
  };
  const tlsSettings = (port: number, { ca, cert, key }: { ca: string; cert: string; key: string }, clients: string) => [
    "port 0",
    `tls-port ${port}`,
    `tls-cert-file ${cert}`,
    `tls-key-file ${key}`,
    `tls-ca-cert-file ${ca}`,
    `tls-auth-clients ${clients}`,
  ];

  test("TLS, with the CA and the server name that are configured, and refused without", async () => {
    const files = await certificates("tls");
    const [port = 0] = await freePorts(1);
    await startServer("tls", port, [...tlsSettings(port, files, "no"), ...withPassword]);
    const node = `127.0.0.1:${port}`;
    await both({ kind: "standalone", node, tls: { ca: files.ca, serverName: "redis.example" } }, serves);
    const stranger = open({ kind: "standalone", node, tls: { serverName: "redis.example" } });
    await assert.rejects(stranger.connected(AbortSignal.timeout(1500)), /SELF_SIGNED|UNABLE_TO|certificate/i);
    stranger.close();
  });

  test("a server that wants client certificates gets one", async () => {
    const files = await certificates("mtls");
    const [port = 0] = await freePorts(1);
    await startServer("mtls", port, [...tlsSettings(port, files, "yes"), ...withPassword]);
    const node = `127.0.0.1:${port}`;
    const tls = { ca: files.ca, serverName: "redis.example" };
    await both({ kind: "standalone", node, tls: { ...tls, cert: files.clientCert, key: files.clientKey } }, serves);
    const stranger = open({ kind: "standalone", node, tls });
    await assert.rejects(stranger.connected(AbortSignal.timeout(1500)));
    stranger.close();
  });

  test("Sentinel with TLS and a password of its own: nothing is said in the clear", async () => {
    const files = await certificates("sentinel-tls");
    const [master = 0, sentinel = 0] = await freePorts(2);
    const sentinelPassword = "a password of the Sentinels";
    const sentinelPasswordFile = file("sentinel-password", sentinelPassword);
    await startServer("tls-master", master, [...tlsSettings(master, files, "no"), ...withPassword]);
    // What is said on the way to the master is recorded; Sentinel names the recorder.
    const recorded: Buffer[] = [];
    const recorder = createServer((near) => {
      const far = connect(master, "127.0.0.1");
      near.on("data", (chunk) => void recorded.push(chunk)).on("error", () => {});
      far.on("error", () => near.destroy());
      near.pipe(far).pipe(near);
    });
    await new Promise<void>((resolve) => void recorder.listen(0, "127.0.0.1", resolve));
    const { port: recordedPort } = recorder.address() as AddressInfo;
    await startServer(
      "tls-sentinel",
      sentinel,
      [
        ...tlsSettings(sentinel, files, "no"),
        "tls-replication yes",
        `requirepass "${sentinelPassword}"`,
        `sentinel monitor fleet 127.0.0.1 ${recordedPort} 1`,
        `sentinel auth-pass fleet "${password}"`,
      ],
      ["--sentinel"],
    );
    const settings = {
      kind: "sentinel",
      sentinels: [`127.0.0.1:${sentinel}`],
      master: "fleet",
      sentinelPasswordFile,
      tls: { ca: files.ca, serverName: "redis.example" },
    };
    try {
      await both(settings, serves);
      assert.ok(recorded.length > 0, "the recorder was passed through");
      const bytes = Buffer.concat(recorded);
      for (const secret of [password, sentinelPassword, "value 1"]) assert.ok(!bytes.includes(secret), secret);
      const unnamed = open({ ...settings, sentinelPasswordFile: undefined });
      await until("the refusal, in words", undefined, () =>
        unnamed.health().includes("Sentinel names a master") && /NOAUTH/.test(unnamed.health()) ? true : undefined,
      );
      unnamed.close();
    } finally {
      recorder.close();
    }
  });

  test("a password that is replaced is read without a restart, and until then the reason is said", async () => {
    const [port = 0] = await freePorts(1);
    const own = file("rotated-password", password);
    await startServer("rotated", port, [`port ${port}`, ...withPassword]);
    const store = open({ kind: "standalone", node: `127.0.0.1:${port}`, passwordFile: own });
    const works = (): Promise<true | undefined> =>
      store.set("a", "b", 1000).then(
        () => true as const,
        () => undefined,
      );
    try {
      await store.connected(AbortSignal.timeout(10_000));
      const inside = admin(port);
      await inside.config("SET", "requirepass", "the next password");
      await inside.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
      await until("the refusal, in words", undefined, async () => {
        await works();
        return /refuses the user name or the password/.test(store.health()) ? true : undefined;
      });
      file("rotated-password", "the next password");
      await until("service", undefined, works);
      assert.equal(store.health(), "ok");
      inside.disconnect();
    } finally {
      store.close();
    }
  });

  test("a Redis that answers and refuses what is asked is not ok, and says why", async () => {
    const [port = 0] = await freePorts(1);
    await startServer("refusing", port, [`port ${port}`, ...withPassword]);
    const inside = admin(port);
    const store = open({ kind: "standalone", node: `127.0.0.1:${port}` });
    const says = async (text: RegExp): Promise<void> => {
      await assert.rejects(store.set("a", "b", 1000));
      assert.match(store.health(), text);
    };
    const isWell = async (): Promise<void> => {
      await store.set("a", "b", 1000);
      assert.equal(store.health(), "ok");
    };
    try {
      await store.connected(AbortSignal.timeout(10_000));
      await inside.call("ACL", "SETUSER", "default", "-set");
      await says(/ACL does not let this user/);
      await inside.call("ACL", "SETUSER", "default", "+@all");
      await isWell();
      await inside.call("CONFIG", "SET", "maxmemory", "1");
      await says(/out of memory/);
      await inside.call("CONFIG", "SET", "maxmemory", "0");
      await isWell();
      await inside.call("REPLICAOF", "127.0.0.1", "1");
      await says(/replica/);
      await inside.call("REPLICAOF", "NO", "ONE");
      await isWell();
      // Another type under a name of ours says nothing of Redis.
      await inside.lpush("claviger:typed", "x");
      await assert.rejects(store.get("typed"), /WRONGTYPE/);
      assert.equal(store.health(), "ok");
    } finally {
      store.close();
      inside.disconnect();
    }
  });

  test("a value of half a gibibyte ends a connection, and not the process", async () => {
    const [port = 0] = await freePorts(1);
    await startServer("giant", port, [`port ${port}`, ...withPassword]);
    const inside = admin(port);
    const store = open({ kind: "standalone", node: `127.0.0.1:${port}` });
    try {
      await store.connected(AbortSignal.timeout(10_000));
      await inside.setrange("claviger:giant", 512 * 2 ** 20 - 2, "x");
      await store.set("small", "value", 60_000);
      const before = process.memoryUsage.rss();
      let most = before;
      const watch = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 5);
      for (let i = 0; i < 3; i++) await assert.rejects(store.get("giant"));
      clearInterval(watch);
      assert.ok(most - before < 128 * 2 ** 20, `${Math.round((most - before) / 2 ** 20)} MiB more`);
      await until("service", undefined, () => store.get("small").catch(() => undefined));
    } finally {
      store.close();
      inside.disconnect();
    }
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
