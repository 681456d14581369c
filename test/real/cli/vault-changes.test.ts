// `claviger vault init` where something is in the way, where rights are taken away, and what it gives
// to operators: on a real OpenBao. (docs/architecture.md #vault.)
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { type OpenBao, startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup, type ProcessGroup } from "../../lab/process-group.ts";
import { claviger, type CliResult } from "./claviger.ts";

suite("claviger vault init on a Vault that is in use", () => {
  let dir: string;
  let processes: ProcessGroup;
  let bao: OpenBao;
  let token: string;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "claviger-changes-"));
    processes = createProcessGroup(dir);
    bao = await startOpenBao(processes, dir);
    token = readFileSync(bao.tokenFile, "utf8");
  });
  after(async () => {
    await processes.stopAll();
    rmSync(dir, { recursive: true, force: true });
  });

  type Site = { readonly config: string; write(...clusters: readonly string[]): void };
  const site = (name: string, registry?: object): Site => {
    const home = join(dir, name);
    mkdirSync(home);
    const file = join(home, "clusters.yaml");
    const config = join(home, "gateway.yaml");
    const auth = { kind: "approle", mount: "approle", roleIdFile: "/nowhere/role", secretIdFile: "/nowhere/secret" };
    writeFileSync(
      config,
      JSON.stringify({
        listen: { address: "127.0.0.1", port: 0 },
        admin: { address: "127.0.0.1", port: 0 },
        tls: { cert: "/nowhere/c", key: "/nowhere/k", clientCa: "/nowhere/ca" },
        trustDomain: "fleet.example",
        registry: registry ?? { kind: "file", file },
        backends: { main: { kind: "vault", addresses: [bao.addr], auth } },
        integrity: { backend: "main", mount: name, key: "integrity", version: 1 },
        audit: { sinks: [{ kind: "stdout" }] },
      }),
    );
    return {
      config,
      write(...clusters) {
        const records = clusters.map(
          (cluster, i) =>
            `  - { name: ${cluster}, uid: 01JD9Z6X3QK8V5T7W2M4N6P8R${"ABCD"[i]}, state: active, keys: [{ backend: main, mount: ${name}, key: ${cluster} }] }\n`,
        );
        writeFileSync(file, `clusters:\n${records.join("")}`);
      },
    };
  };
  const run = (as: string, ...args: readonly string[]): Promise<CliResult> => claviger(args, { VAULT_TOKEN: as });
  const init = ({ config }: Site, name: string, ...args: readonly string[]): Promise<CliResult> =>
    run(token, "vault", "init", "--config", config, "--policy", name, "--role", name, ...args);
  const policy = async (name: string): Promise<string> =>
    (await bao.call<{ data: { policy: string } }>("GET", `sys/policies/acl/${name}`)).data.policy;

  test("rights that the registry does not need any more are shown, and taken with --yes alone", async () => {
    const home = site("removals");
    home.write("one", "two");
    assert.equal((await init(home, "removals")).status, 0);
    const before = await policy("removals");
    home.write("one");
    const asked = await init(home, "removals");
    assert.equal(asked.status, 1);
    for (const right of ["encrypt/two (update)", "decrypt/two (update)", "keys/two (read)", "keys/two/rotate (update)"])
      assert.ok(asked.out.includes(`  REMOVES   removals/${right}\n`), right);
    assert.doesNotMatch(asked.out, /REMOVES.*one/);
    assert.match(asked.err, /^claviger: the policy would lose 5 of its rights .*nothing was changed: .*--yes\n$/);
    assert.equal(await policy("removals"), before);
    const done = await init(home, "removals", "--yes");
    assert.equal(done.status, 0, done.err);
    assert.doesNotMatch(await policy("removals"), /two/);
    // To add is no removal.
    home.write("one", "three");
    assert.equal((await init(home, "removals")).status, 0);
  });

  test("a key that is in the way holds up its own cluster, and nobody else's", async () => {
    const home = site("keys");
    home.write("wide", "good");
    await bao.call("POST", "sys/mounts/keys", { type: "transit" });
    await bao.call("POST", "keys/keys/wide", { type: "aes256-gcm96", exportable: true });
    const { status, out, err } = await init(home, "keys");
    assert.equal(status, 1);
    assert.match(out, /CONFLICT {2}key keys\/keys\/wide .*can be exported/);
    assert.match(out, /ok {4}keys\/encrypt\|decrypt\/good/);
    assert.match(err, /^claviger: 1 of 3 keys are as they were \(CONFLICT above\); the rest is done$/m);
    assert.match(await policy("keys"), /keys\/encrypt\/good/);
    const { data } = await bao.call<{ data: { exportable: boolean } }>("GET", "keys/keys/good");
    assert.equal(data.exportable, false);
  });

  test("each operator's policy is enough for its commands, and for no other", async () => {
    await bao.call("POST", "sys/mounts/kv-operators", { type: "kv", options: { version: "2" } });
    const home = site("operators", { kind: "vault", backend: "main", mount: "kv-operators", path: "registry" });
    const at = ["--config", home.config];
    const added = await run(token, "cluster", "add", "one", "--mount", "operators", ...at);
    assert.equal(added.status, 0, added.err);
    assert.equal((await init(home, "operators")).status, 0);
    const printed = await run(token, "vault", "init", "--print-operator-policies", ...at);
    const tokens = new Map<string, string>();
    for (const [, name = "", text = ""] of printed.out.matchAll(
      /^# vault policy write (\S+) -\n([^]*?)(?=\n# vault|$(?![^]))/gm,
    )) {
      await bao.call("PUT", `sys/policies/acl/${name}`, { policy: text });
      // Whoever may rotate or retire also has to find the cluster.
      const policies = ["default", name, "operators-read"];
      const { auth } = await bao.call<{ auth: { client_token: string } }>("POST", "auth/token/create", { policies });
      tokens.set(name, auth.client_token);
    }
    await bao.call("PUT", "sys/policies/acl/operators-read", {
      policy: 'path "kv-operators/data/registry*" { capabilities = ["read"] }',
    });
    assert.deepEqual(
      [...tokens.keys()],
      ["claviger-operator-rotate", "claviger-operator-retire", "claviger-operator-registry"],
    );
    const as = (name: string, ...args: readonly string[]): Promise<CliResult> =>
      run(tokens.get(`claviger-operator-${name}`) ?? "", ...args, ...at);
    const may = async (name: string, ...args: readonly string[]): Promise<void> => {
      const { status, err } = await as(name, ...args);
      assert.equal(status, 0, `${name}: ${args.join(" ")}: ${err}`);
    };
    const mayNot = async (name: string, ...args: readonly string[]): Promise<void> => {
      const { status, err } = await as(name, ...args);
      assert.equal(status, 1, `${name}: ${args.join(" ")}`);
      assert.match(
        err,
        /refuses your token \(VAULT_TOKEN\): its policies lack a right \(status 403 at .*print-operator-policies/,
      );
    };
    await may("rotate", "key", "status", "one");
    await may("rotate", "key", "rotate", "one");
    await may("rotate", "key", "promote", "one");
    await bao.call("POST", "operators/keys/one/config", { min_decryption_version: 2 });
    await mayNot("rotate", "key", "unretire", "one", "--from", "1");
    await mayNot("rotate", "cluster", "suspend", "one");
    await may("retire", "key", "unretire", "one", "--from", "1");
    await mayNot("retire", "key", "rotate", "one");
    await mayNot("retire", "cluster", "suspend", "one");
    await may("registry", "cluster", "suspend", "one");
    await may("registry", "cluster", "resume", "one");
    await mayNot("registry", "key", "rotate", "one");
  });

  test("a secret-id is bound to addresses and a life where that is asked for, and one that ends is no surprise", async () => {
    const home = site("secrets");
    home.write("one");
    const bound = await init(home, "secrets", "--secret-id-cidr", "127.0.0.1/32", "--secret-id-ttl", "1h");
    assert.equal(bound.status, 0, bound.err);
    assert.match(bound.out, /It ends after 3600 s: something must write a new one/);
    const role = "auth/approle/role/secrets";
    const logIn = async (): Promise<unknown> => {
      const { data: id } = await bao.call<{ data: { role_id: string } }>("GET", `${role}/role-id`);
      const { data } = await bao.call<{ data: { secret_id: string; secret_id_ttl: number } }>(
        "POST",
        `${role}/secret-id`,
        {},
      );
      assert.equal(data.secret_id_ttl, 3600);
      return await bao.call("POST", "auth/approle/login", { role_id: id.role_id, secret_id: data.secret_id });
    };
    await logIn();
    await bao.call("POST", role, { secret_id_bound_cidrs: ["10.9.8.0/24"] });
    await assert.rejects(logIn());
    const unasked = await init(home, "secrets");
    assert.equal(unasked.status, 1);
    assert.match(unasked.out, /CONFLICT {2}role .*secret_id_ttl is 3600, wanted 0/);
    const again = await init(home, "secrets", "--secret-id-cidr", "127.0.0.1/32", "--secret-id-ttl", "1h", "--update");
    assert.equal(again.status, 0, again.err);
    await logIn();
    const open = site("open");
    open.write("one");
    assert.match(
      (await init(open, "open")).out,
      /works from any address; bind it .*--secret-id-cidr CIDR\.\nIt does not end/,
    );
  });
});
