import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { createCa } from "@claviger/gateway-core/src/pki/authority.ts";
import { type OpenBao, startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup, type ProcessGroup } from "../../lab/process-group.ts";
import { claviger } from "./claviger.ts";

type Result = Awaited<ReturnType<typeof claviger>>;

const auths = {
  approle: { kind: "approle", mount: "approle", roleIdFile: "/nowhere/role", secretIdFile: "/nowhere/secret" },
  kubernetes: { kind: "kubernetes", mount: "kubernetes", role: "gw", jwtFile: "/nowhere/jwt" },
  jwt: { kind: "jwt", mount: "jwt", role: "gw", jwtFile: "/nowhere/jwt" },
  cert: { kind: "cert", mount: "cert", role: "gw" },
} as const;

describe("claviger vault init on a real OpenBao", () => {
  let dir: string;
  let processes: ProcessGroup;
  let bao: OpenBao;
  let token: string;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "claviger-init-"));
    processes = createProcessGroup(dir);
    bao = await startOpenBao(processes, dir);
    token = readFileSync(bao.tokenFile, "utf8");
  });
  after(async () => {
    await processes.stopAll();
    rmSync(dir, { recursive: true, force: true });
  });

  /** A gateway's configuration with its registry: two clusters of which one rotates by hand. */
  const site = (name: string, auth: object, mount: string): { readonly config: string; readonly registry: string } => {
    const home = join(dir, name);
    mkdirSync(home);
    const registry = join(home, "clusters.yaml");
    const record = (cluster: string, uid: string, rotation: string): string =>
      `  - { name: ${cluster}, uid: ${uid}, state: active, rotation: ${rotation}, keys: [{ backend: main, mount: ${mount}, key: ${cluster} }] }\n`;
    writeFileSync(
      registry,
      `clusters:\n${record("one", "01JD9Z6X3QK8V5T7W2M4N6P8RA", "auto")}${record("two", "01JD9Z6X3QK8V5T7W2M4N6P8RB", "manual")}`,
    );
    const config = join(home, "gateway.yaml");
    writeFileSync(
      config,
      JSON.stringify({
        listen: { address: "127.0.0.1", port: 0 },
        admin: { address: "127.0.0.1", port: 0 },
        tls: { cert: "/nowhere/c", key: "/nowhere/k", clientCa: "/nowhere/ca" },
        trustDomain: "fleet.example",
        registry: { kind: "file", file: registry },
        backends: {
          main: { kind: "vault", addresses: [bao.addr], tls: { cert: "/dev/null", key: "/dev/null" }, auth },
        },
        redis: {
          kind: "standalone",
          node: "127.0.0.1:1",
        },
        integrity: { backend: "main", mount, key: "integrity", version: 1 },
        audit: { sinks: [{ kind: "stdout" }] },
      }),
    );
    return { config, registry };
  };
  const run = (config: string, ...args: readonly string[]): Promise<Result> =>
    claviger(["vault", "init", "--config", config, ...args], { VAULT_TOKEN: token });
  /** How many requests have changed something, by OpenBao's own audit log. */
  const writes = (): number =>
    readFileSync(bao.auditLog, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { type: string; request: { operation: string; path: string } })
      .filter(
        ({ type, request: { operation, path } }) =>
          type === "request" &&
          ["create", "update", "delete"].includes(operation) &&
          !/^(transit-\w+\/(encrypt|decrypt|hmac|keys\/\w+\/config)|sys\/capabilities|auth\/token)/.test(path),
      ).length;

  test("sets everything up, changes nothing the second time, and follows the registry the third", async () => {
    const { config, registry } = site("first", auths.approle, "transit-a");
    const dry = await run(config, "--dry-run");
    assert.equal(dry.status, 0, dry.err);
    assert.match(dry.out, /7 to do; nothing was changed/);
    const first = await run(config);
    assert.equal(first.status, 0, first.err);
    assert.match(first.out, /7 done\./);
    for (const path of [
      "transit-a/export/encryption-key/one",
      "transit-a/keys/two/config",
      "sys/mounts",
      "auth/token/create",
      "transit-a/decrypt/integrity",
    ])
      assert.ok(first.out.includes(`  denied  ${path}  `), path);
    assert.doesNotMatch(first.out, /FAIL|OPEN/);
    // The commands that it prints, run under a careless umask, write files that nobody else can read.
    const printed = /^Next: (\(umask .*\))$/m.exec(first.out)?.[1] ?? "";
    const [fake, made] = [join(dir, "bin"), join(dir, "made")];
    mkdirSync(fake);
    mkdirSync(made);
    writeFileSync(join(fake, "vault"), "#!/bin/sh\necho canary\n", { mode: 0o755 });
    execFileSync("/bin/sh", ["-c", `umask 022; ${printed}`], { cwd: made, env: { PATH: fake } });
    for (const file of ["ROLE-ID-FILE", "SECRET-ID-FILE"])
      assert.equal(statSync(join(made, file)).mode & 0o777, 0o600, file);
    const key = (await bao.call<{ data: Record<string, unknown> }>("GET", "transit-a/keys/one")).data;
    assert.deepEqual(
      [key["type"], key["exportable"], key["allow_plaintext_backup"], key["deletion_allowed"]],
      ["aes256-gcm96", false, false, false],
    );

    const earlier = writes();
    const second = await run(config);
    assert.equal(second.status, 0, second.err);
    assert.match(second.out, /Nothing was changed/);
    assert.equal(writes(), earlier, "OpenBao's audit log has a change");

    writeFileSync(
      registry,
      `${readFileSync(registry, "utf8")}  - { name: three, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RC, state: active, keys: [{ backend: main, mount: transit-a, key: three }] }\n`,
    );
    const third = await run(config, "--auto-rotate", "720h", "--json");
    assert.equal(third.status, 0, third.err);
    const report = JSON.parse(third.out) as { changed: number; ok: boolean };
    // The new key, the policy, and the period of the three keys that were there.
    assert.deepEqual([report.changed, report.ok], [5, true]);
    assert.equal(
      (await bao.call<{ data: Record<string, unknown> }>("GET", "transit-a/keys/three")).data["auto_rotate_period"],
      2_592_000,
    );

    const exported = join(dir, "first", "exported.yaml");
    writeFileSync(exported, readFileSync(registry));
    writeFileSync(registry, "clusters: []\n");
    const empty = await run(config);
    assert.equal(empty.status, 1);
    assert.match(empty.out, /CONFLICT {2}policy claviger-gateway: the registry has no cluster, .*--registry/);
    assert.match((await run(config, "--registry", exported)).out, /Nothing was changed/);
  });

  test("logs in from the gateway's side with the AppRole that it made, under its policy alone", async () => {
    const { role_id } = (
      await bao.call<{ data: { role_id: string } }>("GET", "auth/approle/role/claviger-gateway/role-id")
    ).data;
    const { secret_id } = (
      await bao.call<{ data: { secret_id: string } }>("POST", "auth/approle/role/claviger-gateway/secret-id", {})
    ).data;
    const { auth } = await bao.call<{ auth: { token_policies: string[]; lease_duration: number } }>(
      "POST",
      "auth/approle/login",
      {
        role_id,
        secret_id,
      },
    );
    assert.deepEqual([auth.token_policies, auth.lease_duration], [["claviger-gateway"], 3600]);
  });

  test("keeps its hands off what somebody else made: a wide key, a foreign policy, a mount of another kind", async () => {
    const { config } = site("foreign", auths.approle, "transit-b");
    await bao.call("POST", "sys/mounts/transit-b", { type: "transit" });
    await bao.call("POST", "transit-b/keys/one", { type: "aes256-gcm96", exportable: true });
    await bao.call("PUT", "sys/policies/acl/theirs", { policy: 'path "secret/*" { capabilities = ["read"] }' });
    const earlier = writes();
    const refused = await run(config, "--policy", "theirs");
    assert.equal(refused.status, 1);
    assert.match(refused.out, /CONFLICT {2}key transit-b\/keys\/one .*can be exported/);
    assert.match(refused.out, /CONFLICT {2}policy theirs/);
    assert.match(refused.err, /nothing was changed/);
    assert.equal(writes(), earlier);
    const { config: kv } = site("kv", auths.approle, "kv");
    await bao.call("POST", "sys/mounts/kv", { type: "kv" });
    assert.match((await run(kv)).out, /CONFLICT {2}mount kv \(transit\): kv is of type kv/);
  });

  test("lines for a prefix are enough, and give no more than the read and rotation of a mount's keys", async () => {
    const { config, registry } = site("alike", auths.approle, "transit-f");
    const text = readFileSync(registry, "utf8");
    // `two` rotates by hand; `one` may only decrypt under its earlier key.
    const named = text.replaceAll(/key: (one|two)/g, "key: prod-$1");
    const previous = ", previousKeys: [{ backend: main, mount: transit-f, key: prod-old }] }\n";
    writeFileSync(registry, named.replace(" }\n", previous));
    const done = await run(config, "--policy", "alike", "--role", "alike", "--key-prefix", "prod-");
    assert.equal(done.status, 0, done.out + done.err);
    for (const path of ["transit-f/encrypt/prod-old", "transit-f/keys/prod-two/config", "transit-f/keys/integrity"])
      assert.ok(done.out.includes(`  denied  ${path}  `), path);
    for (const path of ["transit-f/keys/prod-one/config", "transit-f/keys/prod-one/rotate"])
      assert.ok(done.out.includes(`  ok    ${path}  `), path);
    // A cluster that is added needs no other policy.
    const added = text.slice(text.indexOf("\n") + 1).split("\n")[0] ?? "";
    const next = added.replace("one", "three").replace("RA", "RC").replace("key: one", "key: prod-three");
    writeFileSync(registry, `${readFileSync(registry, "utf8")}${next}\n`);
    const again = await run(config, "--policy", "alike", "--role", "alike", "--key-prefix", "prod-");
    assert.equal(again.status, 0, again.out + again.err);
    assert.match(again.out, /1 done\./);
  });

  test("puts back a policy that was edited by hand, when told to", async () => {
    const { config } = site("wide", auths.approle, "transit-c");
    assert.equal((await run(config, "--policy", "wide", "--role", "wide")).status, 0);
    const { policy } = (await bao.call<{ data: { policy: string } }>("GET", "sys/policies/acl/wide")).data;
    await bao.call("PUT", "sys/policies/acl/wide", {
      policy: policy.replace("# Written", "# Not written") + '\npath "transit-c/export/*" { capabilities = ["read"] }',
    });
    const conflict = await run(config, "--policy", "wide", "--role", "wide");
    assert.match(conflict.out, /CONFLICT {2}policy wide/);
    const mended = await run(config, "--policy", "wide", "--role", "wide", "--update");
    assert.match(mended.out, /1 done[^]*nothing more/);
  });

  for (const [kind, args, needed] of [
    [
      "kubernetes",
      ["--kubernetes-host", "https://127.0.0.1:6443", "--kubernetes-ca", "CA"],
      /--kubernetes-host and --kubernetes-ca/,
    ],
    [
      "jwt",
      ["--jwks-url", "JWKS", "--bound-subject", "system:serviceaccount:claviger:gateway", "--audience", "vault"],
      /--jwks-url/,
    ],
    ["cert", ["--client-ca", "CA", "--allowed-dns-san", "gateway.example"], /--client-ca and --allowed-dns-san/],
  ] as const)
    test(`makes the role of a ${kind} login, says what it needs for that, and changes nothing the second time`, async () => {
      const { config } = site(kind, auths[kind], `transit-${kind}`);
      const ca = join(dir, `${kind}.pem`);
      writeFileSync(ca, (await createCa({ trustDomain: "fleet.example" })).cert);
      const lacking = await run(config, "--dry-run");
      assert.match(`${lacking.out}${lacking.err}`, needed);
      const jwks = await startJwks();
      try {
        const full = args.map((arg) => (arg === "CA" ? ca : arg === "JWKS" ? jwks.url : arg));
        const first = await run(config, "--policy", kind, ...full);
        assert.equal(first.status, 0, first.out + first.err);
        if (kind === "kubernetes") assert.match(first.out, /kind: ServiceAccount[^]*system:auth-delegator/);
        const earlier = writes();
        const second = await run(config, "--policy", kind, ...full);
        assert.equal(second.status, 0, second.out + second.err);
        assert.match(second.out, /Nothing was changed/);
        assert.equal(writes(), earlier, "OpenBao's audit log has a change");
        // Without the options that were needed to make it: what is there is enough.
        const again = await run(config, "--policy", kind);
        assert.match(again.out, /Nothing was changed/);
      } finally {
        jwks.close();
      }
    });

  test("reaches a key in a namespace below the login's, and the gateway's token does too", async () => {
    await bao.call("POST", "sys/namespaces/team", {});
    await bao.call("POST", "team/sys/namespaces/below", {});
    const { config, registry } = site("namespaces", auths.approle, "transit-n");
    const settings = JSON.parse(readFileSync(config, "utf8")) as { backends: { main: object } };
    writeFileSync(
      config,
      JSON.stringify({ ...settings, backends: { main: { ...settings.backends.main, namespace: "team" } } }),
    );
    writeFileSync(
      registry,
      readFileSync(registry, "utf8").replace(
        "mount: transit-n, key: two",
        "namespace: team/below, mount: transit-n, key: two",
      ),
    );
    const first = await run(config);
    assert.equal(first.status, 0, first.out + first.err);
    assert.match(first.out, /ok {4}below\/transit-n\/encrypt\|decrypt\/two/);
    assert.match(first.out, / denied {2}below\/transit-n\/export/);
    assert.match(
      first.out,
      /vault read -namespace=team -field=role_id .*; vault write -namespace=team -f -field=secret_id /,
    );
    assert.equal(
      (await bao.call<{ data: { type: string } }>("GET", "team/below/transit-n/keys/two")).data.type,
      "aes256-gcm96",
    );
    const second = await run(config);
    assert.match(second.out, /Nothing was changed/);
  });

  test("refuses a token that may not do it, and shows no token", async () => {
    const { config } = site("weak", auths.approle, "transit-w");
    const { auth } = await bao.call<{ auth: { client_token: string } }>("POST", "auth/token/create", {
      policies: ["default"],
    });
    const weak = await claviger(["vault", "init", "--config", config], { VAULT_TOKEN: auth.client_token });
    assert.equal(weak.status, 1);
    assert.match(weak.err, /refuses sys\/mounts to this token/);
    const elsewhere = await claviger(["vault", "init", "--config", config], {
      VAULT_TOKEN: token,
      VAULT_ADDR: "http://127.0.0.1:9",
    });
    assert.match(elsewhere.err, /VAULT_ADDR is not an address of backend main/);
    for (const { out, err } of [weak, elsewhere])
      assert.ok(!`${out}${err}`.includes(auth.client_token) && !`${out}${err}`.includes(token));
  });
});

/** Somewhere that OpenBao finds an issuer's keys. */
async function startJwks(): Promise<{ readonly url: string; close(): void }> {
  const { createServer } = await import("node:http");
  const server = createServer(
    (_, response) => void response.setHeader("content-type", "application/json").end('{"keys":[]}'),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}/keys`,
    close: () => server.close(),
  };
}
