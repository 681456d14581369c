import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { createCa, issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { runCli } from "@claviger/cli/src/run.ts";

let dir: string;
let config: string;

function yaml(backend: string): string {
  return `listen: { address: 127.0.0.1, port: 0 }
admin: { address: 127.0.0.1, port: 0 }
tls: { cert: c, key: k, clientCa: a }
trustDomain: fleet.example
registry: { kind: file, file: ${JSON.stringify(join(dir, "clusters.yaml"))} }
backends: { main: ${backend} }
audit: { sinks: [{ kind: stdout }] }
`;
}

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "claviger-cli-"));
  config = join(dir, "gateway.yaml");
});
after(() => rm(dir, { recursive: true, force: true }));
beforeEach(async () => {
  await writeFile(config, yaml(`{ kind: embedded, file: ${JSON.stringify(join(dir, "keys.json"))} }`));
  await writeFile(
    join(dir, "clusters.yaml"),
    "clusters:\n  - name: prod\n    uid: 01JD9Z6X3QK8V5T7W2M4N6P8RA\n    state: active\n    keys: [{ backend: main, mount: transit, key: prod }]\n",
  );
});

type Result = { readonly status: number; readonly out: string; readonly err: string };

async function run(args: readonly string[], env: Record<string, string> = {}): Promise<Result> {
  const [out, err]: [string[], string[]] = [[], []];
  const status = await runCli(args, {
    out: (line) => out.push(line),
    err: (line) => err.push(line),
    env,
    home: join(dir, "home"),
  });
  return { status, out: out.join("\n"), err: err.join("\n") };
}

test("a wrong command line is status 2 with a hint, help and version are 0", async () => {
  for (const args of [["nonsense"], ["pki", "node"], ["check"], ["check", "--socket", "/x", "--timeout", "soon"]]) {
    const { status, err } = await run(args);
    assert.equal(status, 2, args.join(" "));
    assert.match(err, /--help/);
  }
  assert.match((await run(["--help"])).out, /vault.*\n.*help/);
  assert.deepEqual([(await run(["--version"])).status, (await run(["key", "--help"])).status], [0, 0]);
});

test("pki makes an authority once, and certificates that say who they are for", async () => {
  const pki = join(dir, "pki");
  assert.match(
    (await run(["pki", "node", "--dir", pki, "--cluster", "a", "--node", "b"])).err,
    /make one with: claviger pki init/,
  );
  assert.equal((await run(["pki", "init", "--dir", pki, "--trust-domain", "fleet.example"])).status, 0);
  const twice = await run(["pki", "init", "--dir", pki, "--trust-domain", "fleet.example"]);
  assert.deepEqual([twice.status, twice.err.includes("exists")], [1, true]);
  assert.match(
    (await run(["pki", "node", "--dir", pki, "--cluster", "a", "--node", "b"])).out,
    /URI:spiffe:\/\/fleet\.example\/cluster\/a\/node\/b/,
  );
  assert.match(
    (await run(["pki", "gateway", "--dir", pki, "--dns", "kms.example", "--ip", "127.0.0.1"])).out,
    /DNS:kms\.example, IP Address:127\.0\.0\.1/,
  );
  assert.match((await run(["pki", "operator", "--dir", pki, "--name", "alice"])).out, /operator\/alice/);
  assert.equal((await stat(join(pki, "a_b.key"))).mode & 0o777, 0o600);
  assert.match(
    (await run(["pki", "node", "--dir", pki, "--cluster", "../a", "--node", "b"])).err,
    /^claviger: a cluster name must be/,
  );
});

test("no two nodes have the same files, whatever dashes their clusters' names have", async () => {
  const pki = join(dir, "dashes");
  await run(["pki", "init", "--dir", pki, "--trust-domain", "fleet.example"]);
  for (const [name, node] of [
    ["prod", "eu-1"],
    ["prod-eu", "1"],
  ] as const)
    assert.equal((await run(["pki", "node", "--dir", pki, "--cluster", name, "--node", node])).status, 0);
  assert.equal((await run(["pki", "operator", "--dir", pki, "--name", "alice"])).status, 0);
  const files = await readdir(pki);
  assert.deepEqual(files.filter((file) => file.endsWith(".crt")).toSorted(), [
    "ca.crt",
    "operator-alice.crt",
    "prod-eu_1.crt",
    "prod_eu-1.crt",
  ]);
});

test("cluster lists, suspends, resumes and adds", async () => {
  const at = ["--config", config];
  assert.match((await run(["cluster", "list", ...at])).out, /prod +active +auto +main: transit\/prod +01JD/);
  assert.match((await run(["cluster", "suspend", "prod", ...at])).out, /active → suspended/);
  assert.match((await run(["cluster", "suspend", "prod", ...at])).out, /already; nothing was changed/);
  assert.match((await run(["cluster", "decrypt-only", "prod", ...at])).out, /suspended → decrypt-only/);
  assert.match((await run(["cluster", "resume", "prod"], { CLAVIGER_CONFIG: config })).out, /decrypt-only → active/);
  const dry = await run(["cluster", "add", "new", "--backend", "main", "--mount", "transit", "--dry-run", ...at]);
  assert.doesNotMatch(await readFile(join(dir, "clusters.yaml"), "utf8"), /new/);
  assert.match(dry.out, /- name: new\n {2}uid: [0-7][0-9A-Z]{25}\n/);
  assert.equal((await run(["cluster", "add", "new", "--backend", "main", "--mount", "transit", ...at])).status, 0);
  const list = JSON.parse((await run(["cluster", "list", "--json", ...at])).out) as { name: string }[];
  assert.deepEqual(
    list.map(({ name }) => name),
    ["prod", "new"],
  );
  assert.match(
    (await run(["cluster", "add", "x", "--backend", "main", "--mount", "../etc", ...at])).err,
    /--mount must be/,
  );
});

test("cluster shows and edits, over the record that was seen alone where that is asked for", async () => {
  const at = ["--config", config];
  const show = async () =>
    JSON.parse((await run(["cluster", "show", "prod", "-o", "json", ...at])).out) as Record<string, unknown>;
  const { etag, requestsPerSecond } = await show();
  assert.equal(requestsPerSecond, 2000);
  const edit = (...args: readonly string[]): Promise<Result> => run(["cluster", "edit", "prod", ...args, ...at]);
  const dry = await edit("--requests-per-second", "7", "--dry-run");
  assert.match(dry.out, /^prod would have rotation auto, 7 requests\/s, nodes of any name; nothing was changed/);
  assert.equal((await show())["etag"], etag);
  const done = await edit("--requests-per-second", "7", "--expect", "cp-2,cp-1", "--etag", String(etag));
  assert.match(done.out, /^prod has rotation auto, 7 requests\/s, nodes cp-1, cp-2, in .*clusters\.yaml\./);
  const late = await edit("--any-node", "--etag", String(etag));
  assert.deepEqual([late.status, late.out], [1, ""]);
  assert.match(late.err, /^claviger: prod was changed since you looked at it; look at it and run this again$/);
  assert.match((await edit("--requests-per-second", "7")).out, /already; nothing was changed/);
  assert.match((await edit("--any-node")).out, /nodes of any name, in/);
  const { expectedNodes, generation } = await show();
  assert.deepEqual([expectedNodes, generation], [[], 2]);
  assert.match(await readFile(join(dir, "clusters.yaml"), "utf8"), /limits: \{ requestsPerSecond: 7 \}/);
});

test("cluster add pins the CA of a file, and names a file that holds none", async () => {
  const { ca, leaf } = { ca: join(dir, "pin.crt"), leaf: join(dir, "leaf.crt") };
  const authority = await createCa({ trustDomain: "fleet.example" });
  await writeFile(ca, authority.cert);
  await writeFile(leaf, (await issueNode({ ca: authority, cluster: "a", node: "b" })).cert);
  const add = ["cluster", "add", "pinned", "--backend", "main", "--mount", "transit", "--config", config];
  const spki = new X509Certificate(authority.cert).publicKey.export({ type: "spki", format: "der" });
  const pin = createHash("sha256").update(spki).digest("hex");
  assert.match((await run([...add, "--dry-run", "--issuer-ca", ca])).out, new RegExp(`\n  issuer: spki-sha256:${pin}`));
  assert.equal((await run([...add, "--issuer-ca", ca])).status, 0);
  assert.match(await readFile(join(dir, "clusters.yaml"), "utf8"), new RegExp(`issuer: spki-sha256:${pin}\n`));
  assert.match((await run([...add, "--issuer-ca", leaf])).err, /must hold one CA certificate \(PEM\)/);
  assert.match(
    (await run([...add, "--issuer-ca", join(dir, "none")])).err,
    /cannot be used \(ENOENT: there is no such file/,
  );
});

test("key shows, rotates and promotes on the embedded backend", async () => {
  const at = ["--config", config];
  assert.match((await run(["key", "status", "prod", ...at])).out, /no version is promoted yet/);
  assert.match((await run(["key", "promote", "prod", ...at])).out, /version 1 encrypts from now on/);
  const first = JSON.parse((await run(["key", "status", "prod", "--json", ...at])).out) as {
    keyId: string;
    keyIdHash: string;
  };
  assert.match(first.keyId, /^clv1\./);
  assert.equal(first.keyIdHash, `sha256:${createHash("sha256").update(first.keyId).digest("hex")}`);
  assert.ok((await run(["key", "status", "prod", ...at])).out.includes(`\nhash      ${first.keyIdHash} (key_id_hash`));
  assert.match((await run(["key", "rotate", "prod", ...at])).out, /has version 2 now/);
  const waited = await run(["key", "rotate", "prod", "--wait", "--timeout", "1", ...at]);
  assert.equal(waited.status, 1);
  assert.match(waited.err, /^waiting for a gateway to promote version 3; version 1 encrypts \(0 s of 1 s\)\n/);
  assert.match(waited.err, /\nclaviger: version 3 is not promoted after 1 s; is a gateway running/);
  assert.match((await run(["key", "promote", "prod", ...at])).out, /version 3/);
  assert.match((await run(["key", "status", "prod", ...at])).out, /3 +\S+ +\d+s +encrypts/);
});

test("a fleet that cannot be found or read is one clear line", async () => {
  assert.match(
    (await run(["cluster", "list"])).err,
    /say which fleet: --config FILE .* --context NAME, --lab FILE .* VAULT_ADDR/,
  );
  assert.match((await run(["cluster", "list", "--config", config, "--lab", "x"])).err, /not both/);
  assert.match(
    (await run(["cluster", "list", "--config", join(dir, "none.yaml")])).err,
    /^claviger: \/.*\/none\.yaml: cannot be read \(ENOENT\)$/,
  );
  assert.match((await run(["key", "status", "nope", "--config", config])).err, /"nope" is not in the registry/);
  assert.match((await run(["vault", "init", "--config", config])).err, /no backend of kind vault/);
});

test("--lab takes the configuration and the token from lab.json", async () => {
  const lab = join(dir, "lab.json");
  await writeFile(lab, JSON.stringify({ gateways: [{ url: "https://127.0.0.1:1", config }], shims: [], vault: null }));
  assert.match((await run(["cluster", "list", "--lab", lab])).out, /prod/);
  await writeFile(lab, "{}");
  assert.match((await run(["cluster", "list", "--lab", lab])).err, /gateways/);
});

test("a Vault token goes to its own Vault only, and is never shown", async () => {
  await writeFile(
    config,
    yaml('{ kind: vault, addresses: ["http://127.0.0.1:9"], auth: { kind: token-file, file: /none } }'),
  );
  const at = ["--config", config];
  assert.match((await run(["key", "status", "prod", ...at])).err, /set VAULT_TOKEN, or log in/);
  const secret = "hvs.canary-token";
  const elsewhere = await run(["key", "status", "prod", ...at], {
    VAULT_TOKEN: secret,
    VAULT_ADDR: "http://127.0.0.1:10",
  });
  assert.match(elsewhere.err, /VAULT_ADDR is not an address of backend main/);
  const away = await run(["key", "status", "prod", ...at], { VAULT_TOKEN: secret, VAULT_ADDR: "http://127.0.0.1:9" });
  assert.deepEqual([away.status, /cannot be reached/.test(away.err)], [1, true]);
  assert.doesNotMatch([elsewhere, away].map(({ out, err }) => out + err).join(), /canary/);
});

test("cluster add takes the one backend and the one mount there are, and names them where there are more", async () => {
  const added = await run(["cluster", "add", "new", "--config", config, "--dry-run"]);
  assert.equal(added.status, 0, added.err);
  assert.match(added.out, /keys: \[\{ backend: main, mount: transit, key: new \}\]/);
  await run(["cluster", "add", "far", "--mount", "elsewhere", "--config", config]);
  assert.match((await run(["cluster", "add", "new", "--config", config])).err, /give --mount: .*transit, elsewhere/);
  await rm(join(dir, "clusters.yaml"));
  const none = await run(["cluster", "add", "new", "--config", config]);
  assert.match(none.err, /give --mount: a Transit mount of main is not in the configuration/);
  await writeFile(config, yaml("{ kind: embedded, file: a }, other: { kind: embedded, file: b }"));
  assert.match((await run(["cluster", "add", "new", "--config", config])).err, /--backend: it can be main, other/);
});

test("cluster remove says what follows and does it with --yes alone; what it prints brings the cluster back", async () => {
  const before = await readFile(join(dir, "clusters.yaml"), "utf8");
  const look = await run(["cluster", "remove", "prod", "--config", config]);
  assert.deepEqual([look.status, await readFile(join(dir, "clusters.yaml"), "utf8")], [0, before]);
  assert.match(look.out, /uid 01JD9Z6X3QK8V5T7W2M4N6P8RA never stands under another name/);
  const done = await run(["cluster", "remove", "prod", "--config", config, "--yes"]);
  assert.equal(done.status, 0, done.err);
  assert.doesNotMatch((await run(["cluster", "list", "--config", config])).out, /prod/);
  const saved = join(dir, "saved.yaml");
  await writeFile(saved, done.out.slice(0, done.out.indexOf("\n\n")));
  assert.match((await run(["cluster", "import", saved, "--config", config])).out, /added {4}prod|added {2}prod/);
  assert.match((await run(["cluster", "export", "--config", config])).out, /uid: 01JD9Z6X3QK8V5T7W2M4N6P8RA/);
});
