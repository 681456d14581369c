// `claviger-gateway --check` in worlds that are right and wrong: for each wrong one the row that says so,
// in which words, and with which status. Against a real OpenBao and a real Redis.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { readyLine, until } from "../../lab/process-group.ts";
import { type Change, type GatewayWorld, startGatewayWorld } from "./gateway-world.ts";
import { wrongs } from "./gateway-wrongs.ts";
import { type Ended, type Row, rowsOf } from "./programs.ts";

suite("claviger-gateway --check", () => {
  let world: GatewayWorld;
  before(async () => {
    world = await startGatewayWorld();
  });
  after(() => world.stop());

  const badOf = (rows: readonly Row[]): readonly Row[] => rows.filter(({ verdict }) => verdict !== "ok");
  const named = (row: string, config: Change): string => {
    const { addresses = [] } = ((config["backends"] as Change | undefined)?.["main"] ?? {}) as {
      readonly addresses?: readonly string[];
    };
    const vault = (world.settings["backends"] as { readonly main: { readonly addresses: readonly string[] } }).main;
    return row
      .replace(/http:\/\/127\.0\.0\.1:(?:SILENT|OTHER)/, addresses[0] ?? "")
      .replace("https://127.0.0.1:VAULT", vault.addresses[0] ?? "");
  };
  const assertNoSecret = ({ out, err }: Ended): void => {
    for (const file of [world.redis.passwordFile, world.secretIdFile])
      assert.ok(!(out + err).includes(readFileSync(file, "utf8").trim()), "a secret is printed");
    assert.doesNotMatch(out + err, /^\s+at /m);
  };

  test("in a good world every row is ok, and nothing is left behind", async () => {
    const accessors = (): Promise<{ readonly data: { readonly keys: readonly string[] } }> =>
      world.bao.call("LIST", "auth/token/accessors");
    const redis = world.redis.connect();
    const before = { files: readdirSync(join(world.dir, "gw")), tokens: (await accessors()).data.keys.length };
    const ended = await world.check();
    const rows = rowsOf(ended.out);
    assert.deepEqual(badOf(rows), [], ended.out);
    assert.equal(ended.code, 0);
    assert.equal(ended.err, "");
    for (const name of [
      "listen",
      "admin",
      "tls",
      "certificate server",
      "redis rights",
      "backend main login",
      "registry",
    ])
      assert.ok(
        rows.some((row) => row.name === name),
        `${name} has a row`,
      );
    assert.ok(rows.filter(({ name }) => name.startsWith("key of ")).length === 2, ended.out);
    const vault = rows.find(({ name }) => name.startsWith("backend main https:"));
    assert.match(vault?.found ?? "", /^unsealed, version \S+; the server's certificate: valid for \d+ days$/);
    assertNoSecret(ended);
    const after_ = { files: readdirSync(join(world.dir, "gw")), tokens: (await accessors()).data.keys.length };
    assert.deepEqual(after_, before, "no audit file, no token");
    await sleep(1200);
    assert.deepEqual(await redis.keys("claviger:*"), []);
    redis.disconnect();
    console.log(`a good world: ${rows.length} rows, all ok`);
  });

  for (const { what, row, says, verdict, notTried = [], start, make } of wrongs)
    test(what, async () => {
      await make(world, async (change) => {
        const began = performance.now();
        const ended = await world.check(change);
        const rows = rowsOf(ended.out);
        const [name, wanted] = [named(row, change), verdict ?? "failed"];
        const bad = badOf(rows);
        const own = bad.find((one) => one.name === name && one.verdict === wanted);
        assert.match(own?.found ?? `no row ${name} is ${wanted}`, says, ended.out + ended.err);
        assert.deepEqual(
          bad.filter((one) => one !== own).map((one) => [one.name, one.verdict]),
          notTried.map((one) => [one, "not tried"]),
          ended.out,
        );
        assert.equal(ended.code, wanted === "failed" ? 1 : 0);
        assert.ok(performance.now() - began < 20_000);
        assertNoSecret(ended);
        if (start === undefined) return;
        const started = await world.start(change);
        const lines = started.err.split("\n").filter((line) => line !== "" && !line.startsWith("{"));
        assert.equal(started.code, 2, started.err);
        assert.equal(lines.length, 1, started.err);
        assert.match(lines[0] ?? "", start);
      });
    });

  test("a gateway is alive, and not ready, while it reads the registry", async () => {
    const pipe = join(world.dir, "pipe.yaml");
    execFileSync("mkfifo", [pipe]);
    const started = world.start({ registry: { file: pipe } }, 12_000);
    const ask = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${world.ports.admin}${path}`);
    const livez = await until("/livez", undefined, () => ask("/livez").catch(() => undefined));
    assert.equal(livez.status, 200);
    const readyz = await ask("/readyz");
    assert.equal(readyz.status, 503);
    assert.deepEqual(await readyz.json(), { ready: false, checks: { process: "starting" } });
    // Node.js ends with its last thread, and one waits for the pipe: the process is killed here.
    const { err } = await started;
    assert.match(err, /pipe\.yaml: cannot be read \(no answer from the file system\)/);
  });

  test("a configuration that cannot be read is one line and status 2", async () => {
    const ended = await world.check({ nonsense: 1 });
    assert.equal(ended.code, 2);
    assert.match(ended.err, /^claviger-gateway: \S+: nonsense: no such setting\n$/);
    assert.equal(ended.out, "");
  });

  test("everything that is wrong is told at once", async () => {
    const ended = await world.check({
      listen: { address: "192.0.2.1" },
      tls: { clientCa: "/nowhere/ca.crt" },
      redis: { node: "127.0.0.1:1" },
      backends: { main: { addresses: ["https://127.0.0.1:1", "https://127.0.0.1:2"] } },
      registry: { file: "/nowhere/clusters.yaml" },
      audit: {
        sinks: [
          { kind: "file", path: "/nowhere/audit.jsonl" },
          { kind: "syslog-socket", path: "/nowhere/socket" },
        ],
      },
      tracing: { endpoint: "http://127.0.0.1:1/v1/traces" },
    });
    assert.equal(ended.code, 1);
    const failed = badOf(rowsOf(ended.out)).filter(({ verdict }) => verdict === "failed");
    assert.deepEqual(
      failed.map(({ name }) => name),
      [
        "listen",
        "tls",
        "redis",
        "backend main https://127.0.0.1:1",
        "backend main https://127.0.0.1:2",
        "registry",
        "audit file /nowhere/audit.jsonl",
        "audit syslog /nowhere/socket",
        "tracing",
      ],
      ended.out,
    );
  });

  test("beside a gateway that runs its ports are a note, and it is not disturbed", async () => {
    const config = world.config();
    const gateway = world.processes.start("running", [
      process.execPath,
      "gateway/server/src/main.ts",
      "--config",
      config,
    ]);
    await readyLine(gateway);
    const audit = (): string => readFileSync(join(world.dir, "gw", "audit.jsonl"), "utf8");
    await until("the chain to begin", gateway, () => (audit().includes("chainStart") ? true : undefined));
    const before = audit();
    const ended = await world.check();
    assert.equal(ended.code, 0, ended.out);
    assert.deepEqual(
      badOf(rowsOf(ended.out)).map(({ name, verdict }) => [name, verdict]),
      [
        ["listen", "note"],
        ["admin", "note"],
      ],
    );
    assert.match(
      ended.out,
      new RegExp(`process ${gateway.pid}, which is this program, listens at 127\\.0\\.0\\.1:${world.ports.listen}`),
    );
    assert.equal(audit(), before, "no record");
    await world.processes.stop(gateway);
  });
});
