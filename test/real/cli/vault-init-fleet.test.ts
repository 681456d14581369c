// `claviger vault init --for fleet` on a real OpenBao: the registry, tokens, the PKI, and a policy that can neither
// encrypt nor decrypt. (docs/enrollment.md)
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { parse, stringify } from "yaml";
import { createCa } from "@claviger/gateway-core/src/pki/authority.ts";
import { type OpenBao, startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup, type ProcessGroup } from "../../lab/process-group.ts";
import { createSigningRequest } from "../../../shim/src/signing-request.ts";
import { claviger } from "./claviger.ts";

type Result = Awaited<ReturnType<typeof claviger>>;

suite("claviger vault init --for fleet on a real OpenBao", () => {
  let dir: string;
  let processes: ProcessGroup;
  let bao: OpenBao;
  let token: string;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "claviger-init-fleet-"));
    processes = createProcessGroup(dir);
    bao = await startOpenBao(processes, dir);
    token = readFileSync(bao.tokenFile, "utf8");
  });
  after(async () => {
    await processes.stopAll();
    rmSync(dir, { recursive: true, force: true });
  });

  /** The fleet service's configuration, and a gateway's with the same registry; each site has mounts of its own. */
  const site = (name: string): { readonly fleet: string; readonly gateway: string } => {
    const home = join(dir, name);
    mkdirSync(home);
    const auth = { kind: "approle", mount: "approle", roleIdFile: "/nowhere/role", secretIdFile: "/nowhere/secret" };
    const common = {
      listen: { address: "127.0.0.1", port: 0 },
      admin: { address: "127.0.0.1", port: 0 },
      tls: { cert: "/nowhere/c", key: "/nowhere/k", clientCa: "/nowhere/ca" },
      trustDomain: "fleet.example",
      registry: { kind: "vault", backend: "main", mount: `kv-${name}`, path: "registry" },
      backends: { main: { kind: "vault", addresses: [bao.addr], auth } },
      audit: { sinks: [{ kind: "stdout" }] },
    };
    const ca = { kind: "vault", backend: "main", mount: `pki-${name}`, role: "claviger-node" };
    const write = (file: string, settings: object): string => {
      writeFileSync(join(home, file), stringify(settings));
      return join(home, file);
    };
    return {
      gateway: write("gateway.yaml", common),
      fleet: write("fleet.yaml", {
        ...common,
        certificates: { ca, trustBundle: "/nowhere/ca" },
        tokens: { kind: "vault", backend: "main", mount: `kv-${name}` },
        approvals: { methods: ["resume"], store: { kind: "vault", backend: "main", mount: `kv-${name}` } },
        gateways: ["https://127.0.0.1:8443"],
        operators: { ada: { role: "admin" } },
      }),
    };
  };
  const run = (...args: readonly string[]): Promise<Result> => claviger(args, { VAULT_TOKEN: token });
  const init = (config: string, ...args: readonly string[]): Promise<Result> =>
    run("vault", "init", "--for", "fleet", "--config", config, ...args);
  /** What was changed, by OpenBao's own audit log; what the policy's test does changes nothing. */
  const writes = (): readonly string[] =>
    readFileSync(bao.auditLog, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { type: string; request: { operation: string; path: string } })
      .filter(
        ({ type, request: { operation, path } }) =>
          type === "request" &&
          ["create", "update", "delete"].includes(operation) &&
          !/^(transit[\w-]*\/keys\/[\w-]+\/config|sys\/capabilities|auth\/token)/.test(path),
      )
      .map(({ request }) => request.path);
  /** A token under the policy that was written, and nothing else. */
  const serviceToken = async (policy: string): Promise<string> =>
    (
      await bao.call<{ auth: { client_token: string } }>("POST", "auth/token/create", {
        policies: [policy],
        no_default_policy: true,
      })
    ).auth.client_token;
  const as = async (who: string, method: string, path: string, body?: object): Promise<number> =>
    (
      await fetch(`${bao.addr}/v1/${path}`, {
        method,
        headers: { "x-vault-token": who },
        ...(body && { body: JSON.stringify(body) }),
      })
    ).status;

  test("makes all of it, changes nothing the second time, and follows the registry the third", async () => {
    const { fleet, gateway } = site("first");
    const lacking = await init(fleet);
    assert.equal(lacking.status, 1);
    assert.match(lacking.out, /CONFLICT {2}CA of pki-first: there is none: --pki-root makes a root/);
    assert.match(lacking.err, /one thing is in the way \(CONFLICT above\); nothing was changed/);
    const dry = await init(fleet, "--pki-root", "--dry-run");
    assert.equal(dry.status, 0, dry.err);
    assert.match(dry.out, /7 to do; nothing was changed \(--dry-run\)/);
    assert.deepEqual(
      writes().filter((path) => path.includes("first")),
      [],
    );
    const first = await init(fleet, "--pki-root");
    assert.equal(first.status, 0, first.out + first.err);
    assert.match(first.out, /7 done\./);
    assert.match(first.out, /The fleet service can do what it must, and nothing more of the \d\d+ things/);
    assert.match(first.out, /vault read -field=role_id auth\/approle\/role\/claviger-fleet\/role-id/);

    const earlier = writes().length;
    const second = await init(fleet);
    assert.match(second.out, /Nothing was changed: all of it was there/, second.err);
    assert.equal(writes().length, earlier, "OpenBao's audit log has a change");

    assert.equal(
      (await run("cluster", "add", "prod", "--mount", "transit", "--backend", "main", "--config", gateway)).status,
      0,
    );
    assert.equal((await run("vault", "init", "--config", gateway)).status, 0);
    const third = await init(fleet, "--json");
    assert.equal(third.status, 0, third.err);
    const report = JSON.parse(third.out) as { changed: number; ok: boolean; policy: { needed: { path: string }[] } };
    assert.deepEqual([report.changed, report.ok], [1, true]);
    const paths = report.policy.needed.map(({ path }) => path);
    for (const path of ["transit/keys/prod", "transit/keys/prod/rotate", "transit/keys/prod/config"])
      assert.ok(paths.includes(path), path);
  });

  test("a token under its policy signs nodes and rotates, and neither encrypts nor decrypts, exports nor reads on", async () => {
    const who = await serviceToken("claviger-fleet");
    const { request } = createSigningRequest();
    const sign = (uri: string, more: object = {}): Promise<number> =>
      as(who, "POST", "pki-first/sign/claviger-node", {
        csr: request,
        common_name: "n",
        uri_sans: uri,
        ttl: "1h",
        ...more,
      });
    const node = "spiffe://fleet.example/cluster/prod/node/n";
    assert.equal(await sign(node), 200);
    for (const uri of ["spiffe://other.example/cluster/prod/node/n", "spiffe://fleet.example/operator/ada"])
      assert.equal(await sign(uri), 400, uri);
    assert.equal(await as(who, "POST", "transit/keys/prod/rotate"), 200);
    assert.equal(await as(who, "POST", "transit/keys/prod/config", { min_encryption_version: 2 }), 200);
    assert.equal(await as(who, "GET", "kv-first/data/registry/clusters/prod"), 200);
    assert.equal(await as(who, "LIST", "kv-first/metadata/registry/clusters/"), 200);
    assert.equal(await as(who, "POST", "kv-first/data/node-tokens/hash", { data: {}, options: { cas: 0 } }), 200);
    assert.equal(await as(who, "POST", "kv-first/data/approvals/id", { data: {}, options: { cas: 0 } }), 200);
    assert.equal(await as(who, "LIST", "kv-first/metadata/approvals/"), 200);
    await bao.call("POST", "sys/mounts/other", { type: "kv", options: { version: "2" } });
    const plaintext = Buffer.from("secret").toString("base64");
    const refused = [
      ["POST", "transit/encrypt/prod", { plaintext }],
      ["POST", "transit/decrypt/prod", { ciphertext: "vault:v1:AAAA" }],
      ["POST", "transit/rewrap/prod", { ciphertext: "vault:v1:AAAA" }],
      ["POST", "transit/datakey/plaintext/prod", {}],
      ["POST", "transit/hmac/prod", { input: plaintext }],
      ["GET", "transit/export/encryption-key/prod"],
      ["GET", "transit/backup/prod"],
      ["POST", "transit/keys/another", {}],
      ["POST", "transit/keys/prod/config", { min_decryption_version: 1 }],
      ["POST", "transit/keys/prod/config", { deletion_allowed: true }],
      ["DELETE", "transit/keys/prod"],
      ["POST", "pki-first/issue/claviger-node", { common_name: "n" }],
      ["POST", "pki-first/sign-verbatim", { csr: request }],
      ["POST", "pki-first/roles/claviger-node", { allow_any_name: true }],
      ["POST", "pki-first/root/sign-intermediate", { csr: request }],
      ["DELETE", "kv-first/metadata/registry/clusters/prod"],
      ["GET", "kv-first/data/registry-canary/x"],
      ["GET", "other/data/anything"],
      ["GET", "sys/mounts"],
      ["POST", "auth/token/create", {}],
      ["GET", "auth/approle/role/claviger-gateway/role-id"],
    ] as const;
    for (const [method, path, body] of refused)
      assert.equal(await as(who, method, path, body), 403, `${method} ${path}`);
  });

  test("retires versions where that is asked for, and deletes nothing then either", async () => {
    const done = await init(
      join(dir, "first", "fleet.yaml"),
      "--with-retire",
      "--policy",
      "retire",
      "--role",
      "retire",
    );
    assert.equal(done.status, 0, done.out + done.err);
    const who = await serviceToken("retire");
    const config = "transit/keys/prod/config";
    assert.equal(await as(who, "POST", config, { min_decryption_version: 2 }), 200);
    assert.equal(await as(who, "POST", config, { min_decryption_version: 1 }), 200);
    assert.equal(await as(who, "POST", config, { deletion_allowed: true }), 403);
    assert.equal(await as(who, "POST", "transit/keys/prod/trim", { min_available_version: 2 }), 403);
  });

  test("finds a policy that gives more, and takes what it wrote back with a word", async () => {
    const { fleet } = site("wide");
    const more = ["--policy", "wide", "--role", "wide"];
    assert.equal((await init(fleet, "--pki-root", ...more)).status, 0);
    const { policy } = (await bao.call<{ data: { policy: string } }>("GET", "sys/policies/acl/wide")).data;
    const line = 'path "transit/export/*" { capabilities = ["read"] }';
    await bao.call("PUT", "sys/policies/acl/wide", { policy: `${policy}\n${line}\n` });
    const kept = await init(fleet, ...more);
    assert.equal(kept.status, 1);
    assert.match(kept.err, /the policy would lose 1 of its rights.*a fleet service that still needs one would stop/);
    assert.match((await init(fleet, "--yes", ...more)).out, /REMOVES {3}transit\/export\/\* \(read\)/);
    // What another policy of the login gives is found as well: the token of the test has this one alone.
    const printed = await init(fleet, "--print-policy");
    // Old approvals it may delete, where it keeps any.
    const others = printed.out.replace(/^path "[^"]*\/metadata\/approvals\/\+" .*$/m, "");
    assert.doesNotMatch(others, /encrypt\/|decrypt\/|export|"delete"|"sudo"/);
    assert.match(printed.out, /path "pki-wide\/sign\/claviger-node" \{ capabilities = \["update"\] \}/);
  });

  test("lines for a prefix hold for clusters that come later, and not for the integrity key", async () => {
    const { fleet, gateway } = site("alike");
    const key = { backend: "main", mount: "transit-alike", key: "integrity", version: 1 };
    writeFileSync(fleet, `${readFileSync(fleet, "utf8")}integrity: ${JSON.stringify(key)}\n`);
    await bao.call("POST", "sys/mounts/transit-alike", { type: "transit" });
    for (const name of ["prod-one", "prod-old", "integrity"]) await bao.call("POST", `transit-alike/keys/${name}`, {});
    const named = ["--policy", "alike", "--role", "alike"];
    assert.equal((await init(fleet, "--pki-root", ...named)).status, 0);
    const added = await run(
      "cluster",
      "add",
      "one",
      "--backend",
      "main",
      "--mount",
      "transit-alike",
      "--key",
      "prod-one",
      "--config",
      gateway,
    );
    assert.equal(added.status, 0, added.err);
    const none = await init(fleet, "--key-prefix", "test-");
    assert.match(none.err, /--key-prefix test-: no key's name begins so/);
    const done = await init(fleet, "--yes", "--key-prefix", "prod-", ...named);
    assert.equal(done.status, 0, done.out + done.err);
    for (const path of [
      "transit-alike/keys/integrity",
      "transit-alike/keys/integrity/rotate",
      "transit-alike/encrypt/prod-one",
    ])
      assert.ok(done.out.includes(`  denied  ${path}  `), path);
    const who = await serviceToken("alike");
    await bao.call("POST", "transit-alike/keys/prod-two", {});
    assert.equal(await as(who, "POST", "transit-alike/keys/prod-two/rotate"), 200);
    assert.equal(await as(who, "POST", "transit-alike/keys/integrity/rotate"), 403);
    assert.equal(await as(who, "POST", "transit-alike/hmac/integrity/sha2-256", { input: "AAAA" }), 200);
  });

  test("a CA of one's own: writes the request once, and signs once the certificate is there", async () => {
    const { fleet } = site("csr");
    const file = join(dir, "csr", "request");
    const named = ["--policy", "csr", "--role", "csr", "--pki-csr", file];
    const asked = await init(fleet, ...named);
    assert.equal(asked.status, 0, asked.out + asked.err);
    const request = readFileSync(file, "utf8");
    assert.match(request, /^-----BEGIN CERTIFICATE REQUEST-----/);
    const again = await init(fleet, ...named);
    assert.match(again.out, /present {3}CA of pki-csr: requested in .*intermediate\/set-signed/);
    assert.equal(readFileSync(file, "utf8"), request);
    // The site's own CA, of which nothing is in Vault.
    const home = join(dir, "csr");
    const openssl = (...args: readonly string[]): Buffer =>
      execFileSync("openssl", [...args], { cwd: home, stdio: "pipe" });
    openssl(
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-keyout",
      "own.key",
      "-out",
      "own.crt",
      "-subj",
      "/CN=own",
      "-days",
      "30",
    );
    writeFileSync(join(home, "ext"), "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\n");
    openssl(
      "x509",
      "-req",
      "-in",
      "request",
      "-CA",
      "own.crt",
      "-CAkey",
      "own.key",
      "-CAcreateserial",
      "-days",
      "20",
      "-extfile",
      "ext",
      "-out",
      "signed.crt",
    );
    await bao.call("POST", "pki-csr/intermediate/set-signed", {
      certificate: `${readFileSync(join(home, "signed.crt"), "utf8")}${readFileSync(join(home, "own.crt"), "utf8")}`,
    });
    assert.match((await init(fleet, ...named)).out, /present {3}CA of pki-csr\n/);
    const who = await serviceToken("csr");
    const { request: csr } = createSigningRequest();
    const body = { csr, common_name: "n", uri_sans: "spiffe://fleet.example/cluster/prod/node/n", ttl: "1h" };
    assert.equal(await as(who, "POST", "pki-csr/sign/claviger-node", body), 200);
    assert.equal(existsSync(join(home, "own.srl")), true);
  });

  test("a login by ServiceAccount: the role is bound to the service's own, in its own namespace", async () => {
    const { fleet } = site("account");
    const login = { kind: "kubernetes", mount: "kubernetes", role: "claviger-fleet", jwtFile: "/nowhere/jwt" };
    const settings = parse(readFileSync(fleet, "utf8")) as { backends: { main: object } };
    writeFileSync(fleet, stringify({ ...settings, backends: { main: { ...settings.backends.main, auth: login } } }));
    const named = ["--pki-root", "--policy", "account"];
    const lacking = await init(fleet, ...named);
    assert.match(lacking.out, /CONFLICT {2}configuration auth\/kubernetes\/config: to make it, give --kubernetes-host/);
    const ca = join(dir, "account", "ca.pem");
    writeFileSync(ca, (await createCa({ trustDomain: "fleet.example" })).cert);
    const cluster = ["--kubernetes-host", "https://127.0.0.1:6443", "--kubernetes-ca", ca];
    const done = await init(fleet, ...named, ...cluster);
    assert.equal(done.status, 0, done.out + done.err);
    assert.match(done.out, /kind: ServiceAccount\nmetadata:\n {2}name: claviger-fleet\n {2}namespace: claviger-fleet/);
    const { data } = await bao.call<{ data: Record<string, unknown> }>("GET", "auth/kubernetes/role/claviger-fleet");
    assert.deepEqual(
      [data["bound_service_account_names"], data["bound_service_account_namespaces"], data["token_policies"]],
      [["claviger-fleet"], ["claviger-fleet"], ["account"]],
    );
    assert.match((await init(fleet, ...named)).out, /Nothing was changed/);
  });

  test("keeps its hands off a CA, a role and mounts that are there, and says what differs", async () => {
    const { fleet } = site("foreign");
    await bao.call("POST", "sys/mounts/kv-foreign", { type: "kv" });
    const kv = await init(fleet, "--pki-root");
    assert.match(kv.out, /CONFLICT {2}mount kv-foreign \(kv\): its version is "1", not "2"/);
    await bao.call("DELETE", "sys/mounts/kv-foreign");
    await bao.call("POST", "sys/mounts/pki-foreign", { type: "pki" });
    const own = await createCa({ trustDomain: "fleet.example" });
    const bundle = own.key.use((key) => `${own.cert}${key}`);
    await bao.call("POST", "pki-foreign/config/ca", { pem_bundle: bundle });
    await bao.call("POST", "pki-foreign/roles/claviger-node", { allow_any_name: true, server_flag: true });
    const refused = await init(fleet, "--pki-root");
    assert.match(refused.out, /present {3}CA of pki-foreign\n/);
    assert.match(
      refused.out,
      /CONFLICT {2}role pki-foreign\/roles\/claviger-node: .*server_flag is true, wanted false/,
    );
    const named = ["--policy", "foreign", "--role", "foreign"];
    const mended = await init(fleet, "--update", ...named);
    assert.equal(mended.status, 0, mended.out + mended.err);
    assert.match((await init(fleet, ...named)).out, /Nothing was changed/);
    const longer = {
      ...(await bao.call<{ data: object }>("GET", "pki-foreign/roles/claviger-node")).data,
      max_ttl: "200h",
    };
    await bao.call("POST", "pki-foreign/roles/claviger-node", longer);
    assert.match((await init(fleet, ...named)).out, /Nothing was changed/);
  });
});
