// Commands without a gateway's configuration: with VAULT_ADDR and a token alone, and with contexts.
// Each connects to what it needs and to nothing else. (docs/architecture.md #parts.)
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { createProcessGroup, type ProcessGroup } from "../../lab/process-group.ts";
import { claviger, type CliResult } from "./claviger.ts";
import { createWorld, registryOf, type World } from "./error-world.ts";

suite("an operator's own settings", () => {
  let dir: string;
  let processes: ProcessGroup;
  let world: World;
  let home: string;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "claviger-contexts-"));
    processes = createProcessGroup(dir);
    world = await createWorld(processes, dir);
    home = join(dir, "operator");
    mkdirSync(join(home, ".config", "claviger"), { recursive: true });
    writeFileSync(join(home, ".vault-token"), world.tokens.root, { mode: 0o600 });
  });
  after(async () => {
    await world.close();
    await processes.stopAll();
    rmSync(dir, { recursive: true, force: true });
  });
  const run = async (env: NodeJS.ProcessEnv, ...args: readonly string[]): Promise<CliResult> => {
    const ran = await claviger(args, { HOME: home, ...env });
    assert.ok(!`${ran.out}${ran.err}`.includes(world.tokens.root), "the token was printed");
    return ran;
  };
  const ok = async (env: NodeJS.ProcessEnv, ...args: readonly string[]): Promise<string> => {
    const { status, out, err } = await run(env, ...args);
    assert.equal(status, 0, err);
    return `${out}${err}`;
  };

  test("VAULT_ADDR, VAULT_CACERT and a token are enough: from an empty Vault to a rotated and promoted key", async () => {
    await world.bao.call("POST", "sys/mounts/kv", { type: "kv", options: { version: "2" } });
    const env = { VAULT_ADDR: world.tlsAddr, VAULT_CACERT: world.ca, CLAVIGER_REGISTRY: "kv:kv/claviger/clusters" };
    await ok(env, "cluster", "add", "alone", "--mount", "transit");
    assert.match(await ok(env, "cluster", "list"), /alone +active +auto +main: transit\/alone/);
    assert.match(
      await ok(env, "vault", "init", "--policy", "alone"),
      /The gateway can do what it must[^]*vault token create -orphan/,
    );
    assert.match(await ok(env, "key", "rotate", "alone"), /has version 2 now/);
    assert.match(await ok(env, "key", "promote", "alone"), /version 2 encrypts from now on/);
    assert.match(await ok(env, "key", "status", "alone"), /2 +\S+ +\S+ +encrypts/);
    // VAULT_TOKEN goes before ~/.vault-token, as with the vault command.
    const wrong = await run({ ...env, VAULT_TOKEN: "hvs.canary" }, "key", "status", "alone");
    assert.match(wrong.err, /does not know your token \(VAULT_TOKEN\)/);
    const file = join(dir, "alone.yaml");
    writeFileSync(file, registryOf("prod"));
    const { CLAVIGER_REGISTRY: _, ...vault } = env;
    assert.match(await ok(vault, "key", "status", "prod", "--registry", file), /main: transit\/prod/);
  });

  test("VAULT_NAMESPACE is where the registry and the keys are", async () => {
    await world.bao.call("POST", "sys/namespaces/team", {});
    await world.bao.call("POST", "team/sys/mounts/transit", { type: "transit" });
    await world.bao.call("POST", "team/transit/keys/prod", { type: "aes256-gcm96" });
    const file = join(dir, "team.yaml");
    writeFileSync(file, registryOf("prod"));
    const env = { VAULT_ADDR: world.bao.addr, VAULT_NAMESPACE: "team" };
    await ok(env, "key", "rotate", "prod", "--registry", file);
    const { data } = await world.bao.call<{ data: { latest_version: number } }>("GET", "team/transit/keys/prod");
    assert.equal(data.latest_version, 2);
  });

  test("a VAULT_ADDR that stands for another backend than the key's asks which one it is", async () => {
    const file = join(dir, "second.yaml");
    writeFileSync(file, registryOf("prod").replace("backend: main", "backend: second"));
    const env = { VAULT_ADDR: world.bao.addr, CLAVIGER_REGISTRY: file };
    assert.match(await ok(env, "cluster", "list"), /second: transit\/prod/);
    const { status, err } = await run(env, "key", "status", "prod");
    assert.equal(status, 1);
    assert.match(
      err,
      /^claviger: this needs backend second, and VAULT_ADDR stands for backend main: .*CLAVIGER_BACKEND=second/,
    );
    assert.match(await ok({ ...env, CLAVIGER_BACKEND: "second" }, "key", "status", "prod"), /second: transit\/prod/);
  });

  const contexts = (): string => join(home, ".config", "claviger", "config.yaml");
  const write = (text: string): void => writeFileSync(contexts(), text, { mode: 0o640 });

  test("contexts are listed, shown, chosen and used; the rest of the file stays as it is", async () => {
    const file = join(dir, "context.yaml");
    writeFileSync(file, registryOf("prod"));
    write(`# of the team
contexts:
  over-tls: # the usual one
    backends: { main: { addresses: ["${world.tlsAddr}"], tls: { ca: ${world.ca} } } }
    registry: ${file}
  gateway: { config: ${world.site("context-gateway", { registry: registryOf("other") })} }
`);
    assert.match(
      (await run({}, "key", "status", "prod")).err,
      /has no current context: claviger context use NAME, or --context NAME/,
    );
    await ok({}, "context", "use", "over-tls");
    assert.match(
      readFileSync(contexts(), "utf8"),
      /^current: "over-tls"\n# of the team\ncontexts:\n {2}over-tls: # the usual one/,
    );
    assert.equal(statSync(contexts()).mode & 0o777, 0o640);
    assert.match(await ok({}, "context", "list"), /\* +over-tls +main: https:.*\n +gateway +as in /);
    assert.match(await ok({}, "context", "show", "over-tls"), /addresses:\n +- https:/);
    assert.match(await ok({}, "key", "status", "prod"), /main: transit\/prod/);
    assert.match(await ok({}, "cluster", "list", "--context", "gateway"), /^other /m);
    assert.match(await ok({ CLAVIGER_CONTEXT: "gateway" }, "cluster", "list"), /^other /m);
    assert.match(await ok({ CLAVIGER_CONFIG: contexts() }, "cluster", "list"), /^prod /m);
    // A token is for its own Vault: a context at another one does not get it.
    const elsewhere = await run({ VAULT_ADDR: "http://127.0.0.1:9" }, "key", "status", "prod");
    assert.match(elsewhere.err, /VAULT_ADDR is not an address of backend main/);
  });

  test("a context has no place for a token or a password", async () => {
    for (const secret of ["token: hvs.canary", "password: canary"]) {
      write(
        `current: x\ncontexts: { x: { backends: { main: { addresses: ["${world.bao.addr}"], ${secret} } }, registry: /x } }\n`,
      );
      const { status, err } = await run({}, "cluster", "list");
      assert.equal(status, 1);
      assert.match(err, /config\.yaml: contexts\.x\.backends\.main\.\w+: no such setting$/m);
      assert.doesNotMatch(err, /canary/);
    }
  });

  test("retire without Redis says what it cannot know, and asks for --nodes-checked; the etcds are those of the context", async () => {
    const file = join(dir, "retire.yaml");
    writeFileSync(file, registryOf("prod"));
    await world.bao.call("POST", "transit/keys/prod/rotate");
    await world.bao.call("POST", "transit/keys/prod/config", { min_encryption_version: 2 });
    const { etcd } = world;
    write(`current: x
contexts:
  x:
    backends: { main: { addresses: ["${world.bao.addr}"] } }
    registry: ${file}
    etcd: { prod: { endpoints: ["${etcd.url}"], ca: ${world.ca}, cert: ${etcd.cert}, key: ${etcd.key} } }
`);
    const blind = await run({}, "key", "retire", "prod");
    assert.equal(blind.status, 1);
    assert.match(
      blind.err,
      /without Redis it is not known which key_id the nodes of cluster prod show, .*say --nodes-checked/,
    );
    // The etcd of the context was read: it is empty, which is another reason.
    assert.match(blind.err, /the etcd of cluster prod holds no object that Claviger encrypted for it/);
    const checked = await run({}, "key", "retire", "prod", "--nodes-checked");
    assert.doesNotMatch(checked.err, /without Redis/);
    assert.match(await ok({}, "key", "usage", "prod"), /No object is encrypted by Claviger/);
  });

  test("commands that need a key's Vault alone leave Redis and the gateways alone", async () => {
    let connections = 0;
    const redis = createServer((socket) => {
      connections += 1;
      socket.destroy();
    });
    await new Promise<void>((resolve) => redis.listen(0, "127.0.0.1", resolve));
    const { port } = redis.address() as AddressInfo;
    const config = world.site("lonely", {
      redis: { kind: "standalone", node: `127.0.0.1:${port}`, passwordFile: "/nowhere/password" },
      integrity: { backend: "main", mount: "transit", key: "integrity", version: 1 },
    });
    for (const args of [
      ["cluster", "list"],
      ["key", "status", "prod"],
      ["key", "rotate", "prod"],
      ["key", "promote", "prod"],
      ["key", "unretire", "prod", "--from", "1"],
    ])
      await ok({}, ...args, "--config", config);
    await ok(
      {},
      "key",
      "usage",
      "prod",
      "--config",
      config,
      "--etcd",
      world.etcd.url,
      "--etcd-ca",
      world.ca,
      "--etcd-cert",
      world.etcd.cert,
      "--etcd-key",
      world.etcd.key,
    );
    assert.equal(connections, 0);
    redis.close();
  });
});
