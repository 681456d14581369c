// What the fleet service knows of nodes and gateways: from a real shim through a gateway and Redis to an operator's
// command, with an outage, an emptied Redis, a hostile node and whoever can write to Redis.
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import type { Redis } from "ioredis";
import { headers, methods } from "@claviger/proto/wire/protocol.ts";
import { Agent, request } from "undici";
import { parse } from "yaml";
import shimPackage from "../../../shim/package.json" with { type: "json" };
import {
  createPki,
  type LabGateway,
  type LabShim,
  type Pki,
  startGateway,
  startShim,
  writeRegistry,
} from "../../lab/fleet.ts";
import { integrityKey, transitMount } from "../../lab/openbao.ts";
import { type LabFleetService, startFleetService } from "../../lab/fleet-service.ts";
import { type KmsClient, kmsClient } from "../../lab/kms.ts";
import { createProcessGroup, type LabProcess, type ProcessGroup, readyLine, until } from "../../lab/process-group.ts";
import { type RedisServer, startRedis } from "../../lab/redis.ts";
import { claviger, type CliResult } from "../cli/claviger.ts";

type Node = Readonly<Record<string, unknown>> & { readonly node: string; readonly condition: string };

suite("what is known of nodes", () => {
  let dir: string;
  let processes: ProcessGroup;
  let pki: Pki;
  let redis: RedisServer;
  let attacker: Redis;
  let gateway: LabGateway;
  let gatewayProc: LabProcess;
  let shim: LabShim;
  let kms: KmsClient;
  let fleet: LabFleetService;
  let options: readonly string[];
  let hash: string;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    processes = createProcessGroup(dir);
    pki = await createPki(dir);
    redis = await startRedis(processes, dir);
    attacker = redis.connect();
    const registry = writeRegistry(dir, [{ name: "cluster-1", key: "cluster-1" }]);
    const { clusters } = parse(readFileSync(registry, "utf8")) as { readonly clusters: readonly { uid: string }[] };
    hash = `claviger:nodes:${clusters[0]?.uid}`;
    gateway = await startGateway({ processes, dir, name: "gateway-1", pki, registry, redis });
    gatewayProc = gateway.proc;
    const settings = {
      gateways: [gateway.url],
      registry: { kind: "file", file: registry },
      backends: { main: { kind: "embedded", file: join(dir, "keys.json") } },
      redis: { kind: "standalone", node: `${redis.host}:${redis.port}`, passwordFile: redis.passwordFile },
      integrity: { backend: "main", mount: transitMount, key: integrityKey, version: 1 },
    };
    fleet = await startFleetService({ processes, dir, pki, settings });
    options = await fleet.options("vera");
    const extra = { outage: { healthyFor: "0s", degradedFor: "1h" } };
    const common = { processes, dir, pki, gateways: [gateway.url], extra };
    shim = await startShim({ ...common, cluster: "cluster-1", node: "node-1" });
    kms = kmsClient(shim.socket);
  });
  after(async () => {
    kms.close();
    attacker.disconnect();
    await processes.stopAll();
    await rm(dir, { recursive: true, force: true });
  });

  const run = (...args: readonly string[]): Promise<CliResult> => claviger([...args, ...options]);
  const show = async (node: string): Promise<Node | undefined> => {
    const { status, out } = await run("node", "show", `cluster-1/${node}`, "-o", "json");
    return status === 0 ? (JSON.parse(out) as Node) : undefined;
  };
  /** But for what a gateway says of itself: the machine may be busy. */
  const attention = async (): Promise<readonly string[]> => {
    const { status, out } = await run("fleet", "status", "--attention", "-o", "json");
    const kinds = (JSON.parse(out) as readonly { readonly kind: string }[]).map(({ kind }) => kind);
    assert.equal(status, kinds.length === 0 ? 0 : 3);
    return kinds.filter((kind) => kind !== "gateway_busy");
  };
  /** Asks for a Status, and waits until the node is told as it should be. */
  const seen = (what: string, is: (node: Node) => boolean, ms = 30_000): Promise<Node> =>
    until(
      what,
      shim.proc,
      async () => {
        await kms.status();
        const node = await show("node-1");
        return node !== undefined && is(node) ? node : undefined;
      },
      ms,
    );
  /** A Status as a node that has this certificate can send it. */
  const statusAs = async (node: string, header: string | undefined): Promise<number> => {
    const { cert, key } = await pki.node("cluster-1", node);
    const tls = { ca: readFileSync(pki.ca), cert: readFileSync(cert), key: readFileSync(key) };
    const dispatcher = new Agent({ allowH2: false, connect: tls });
    try {
      const reply = await request(`${gateway.url}${methods.status}`, {
        method: "POST",
        dispatcher,
        headers: { "content-type": "application/proto", ...(header !== undefined && { [headers.shim]: header }) },
        body: "",
      });
      await reply.body.dump();
      return reply.statusCode;
    } finally {
      await dispatcher.close();
    }
  };

  test("a node is told with its version, key_id and certificate, and the gateway that saw it", async () => {
    const { keyId } = await kms.status();
    const node = await seen("the node with its key_id", (one) => one["keyId"] === keyId);
    const { tls } = parse(readFileSync(shim.config, "utf8")) as { readonly tls: { readonly cert: string } };
    const leaf = new X509Certificate(readFileSync(tls.cert));
    assert.equal(node.condition, "ok");
    assert.deepEqual(
      [node["shimVersion"], node["phase"], node["lastOutage"], node["revoked"]],
      [shimPackage.version, 0, undefined, false],
    );
    assert.match(String(node["configHash"]), /^[0-9a-f]{16}$/);
    assert.equal(node["certificateSerial"], leaf.serialNumber);
    assert.equal(Date.parse(String(node["certificateNotAfter"])), Date.parse(leaf.validTo));
    const { out } = await run("fleet", "status", "-o", "json");
    const status = JSON.parse(out) as Readonly<Record<string, unknown>>;
    assert.deepEqual([status["clusters"], status["nodes"]], [{ active: 1 }, { ok: 1 }]);
    const table = await run("node", "list", "cluster-1");
    assert.match(table.out, /^NODE +CONDITION +SEEN +PHASE.*\ncluster-1\/node-1 +ok +\d+s ago +0 +/);
  });

  test("an outage is told by the first Status after it, with what to do, and remembered when it is over", async () => {
    assert.deepEqual(await attention(), []);
    await processes.stop(gatewayProc);
    const away = await kms.status();
    assert.match(away.healthz, /no gateway can be reached/);
    gatewayProc = processes.start(gatewayProc.name, gatewayProc.argv);
    await readyLine(gatewayProc);
    const { phase } = await seen("the phase of the outage", (one) => one["phase"] !== 0);
    assert.equal(phase, 2);
    // The Status that was answered has ended it, and the next one says so.
    const over = await seen("the end of the outage", (one) => one["phase"] === 0);
    assert.equal((over["lastOutage"] as { readonly phase: number }).phase, 2);
    assert.equal(over.condition, "ok");
  });

  test("what needs a person is told with the command that cures it, and by exit status 3", async () => {
    assert.equal(await statusAs("node-3", "version=0.2.0;phase=3;good=700"), 200);
    await until("the item", fleet.proc, async () => ((await attention()).length > 0 ? true : undefined));
    assert.deepEqual(await attention(), ["writes_stopped"]);
    const { status, out } = await run("fleet", "status", "--attention");
    assert.equal(status, 3);
    assert.match(
      out,
      /^critical {2}cluster-1\/node-3: no gateway confirms its key.*, since 20\S+Z\n +on node-3 of cluster-1: claviger-shim .*--check\n$/,
    );
    assert.equal(await statusAs("node-3", "version=0.2.0;phase=0;good=1"), 200);
    await until("its end", fleet.proc, async () => ((await attention()).length === 0 ? true : undefined));
  });

  test("what a hostile node says of another changes nothing, and garbage nothing at all", async () => {
    const before = await show("node-1");
    for (const header of [
      "version=9.9.9;phase=3;node=node-1;cluster=cluster-1",
      "version=<9.9.9>;phase=3",
      "node-1",
      "x".repeat(4000),
    ])
      assert.equal(await statusAs("node-2", header), 200);
    // As a shim of 0.1.0 does.
    assert.equal(await statusAs("node-4", undefined), 200);
    const old = await until("node-4", fleet.proc, () => show("node-4"));
    assert.deepEqual([old.condition, old["shimVersion"]], ["unknown", ""]);
    const other = await until("node-2", fleet.proc, () => show("node-2"));
    assert.notEqual(other["shimVersion"], "<9.9.9>");
    const same = await show("node-1");
    assert.deepEqual([same?.["shimVersion"], same?.["phase"]], [before?.["shimVersion"], before?.["phase"]]);
  });

  test("a value in Redis that no gateway has put there is refused, and said", async () => {
    const value = (await attacker.hget(hash, "node-1")) ?? "";
    assert.match(value, /phase=0/);
    await attacker.hset(hash, {
      "node-1": value.replace("phase=0", "phase=1"),
      "node-2": value,
      "node-8": "made up",
    });
    const { out, err } = await run("node", "list", "cluster-1", "-o", "json");
    const names = (JSON.parse(out) as readonly Node[]).map(({ node }) => node);
    assert.deepEqual(names, ["node-3", "node-4"]);
    assert.match(err, /^This is not all: .*3 values in Redis .* are signed by no gateway/);
    assert.ok((await attention()).includes("foreign_values"));
    // An older word of the same node counts, as what it is.
    await attacker.hset(hash, "node-1", value);
    assert.equal((await show("node-1"))?.condition, "ok");
  });

  test("while Redis is away every answer says so, and calls go on; emptied, it knows the node again within half a minute", async (t) => {
    await processes.stop(redis.proc());
    const { status, err } = await run("node", "list");
    assert.equal(status, 0);
    assert.match(err, /what gateways know of nodes cannot be read: Redis is away/);
    assert.ok((await attention()).includes("nodes_unknown"));
    assert.equal((await kms.status()).healthz, "ok");
    await redis.start();
    const began = performance.now();
    const young = await until("a Redis that is young", fleet.proc, async () => {
      const said = await run("node", "list", "cluster-1");
      return said.err.includes("Redis has held") ? said : undefined;
    });
    assert.match(young.err, /nodes that have not asked for a Status since are not known yet\.$/m);
    // kube-apiserver asks once a minute; here it is asked all the time.
    await seen("the node", ({ condition }) => condition === "ok", 60_000);
    const seconds = (performance.now() - began) / 1000;
    t.diagnostic(`known again after ${seconds.toFixed(0)} s`);
    assert.ok(seconds < 35, `after ${seconds} s`);
  });
});
