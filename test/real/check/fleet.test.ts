// `claviger-fleet --check` in a world that is right, and in wrong ones: for each the row that says so. Against a real
// OpenBao, set up by `claviger vault init --for fleet`.
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { stringify } from "yaml";
import { createCa, issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { writeCa, writePem } from "@claviger/gateway-core/src/pki/files.ts";
import { buildConsole } from "../../../infra/console.ts";
import { createPki, type Pki, trustDomain } from "../../lab/fleet.ts";
import { setUpFleetVault } from "../../lab/fleet-service.ts";
import { integrityKey, type OpenBao, setUpTransit, startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup, type ProcessGroup } from "../../lab/process-group.ts";
import { startRedis } from "../../lab/redis.ts";
import { type Ended, rowsOf, runToEnd } from "./programs.ts";

type Settings = Readonly<Record<string, unknown>>;

suite("claviger-fleet --check", () => {
  let dir: string;
  let processes: ProcessGroup;
  let bao: OpenBao;
  let pki: Pki;
  let good: Settings;
  let made = 0;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "claviger-check-fleet-"));
    processes = createProcessGroup(dir);
    pki = await createPki(dir);
    bao = await startOpenBao(processes, dir);
    await setUpTransit(bao, [], [], dir);
    const [main, redis] = await Promise.all([setUpFleetVault(bao, pki, dir), startRedis(processes, dir)]);
    const tls = await pki.gateway("fleet");
    await buildConsole(join(dir, "console"));
    good = {
      listen: { address: "127.0.0.1", port: 0 },
      admin: { address: "127.0.0.1", port: 0 },
      tls: { ...tls, clientCa: pki.ca },
      trustDomain,
      registry: { kind: "vault", backend: "main", mount: "kv", path: "registry" },
      backends: { main },
      certificates: {
        ca: { kind: "vault", backend: "main", mount: "pki", role: "claviger-node" },
        trustBundle: pki.ca,
      },
      tokens: { kind: "vault", backend: "main", mount: "kv" },
      approvals: { methods: ["resume"], store: { kind: "vault", backend: "main", mount: "kv" } },
      redis: { kind: "standalone", node: `${redis.host}:${redis.port}`, passwordFile: redis.passwordFile },
      integrity: { backend: "main", mount: "transit", key: integrityKey, version: 1 },
      gateways: ["https://127.0.0.1:8443"],
      operators: { ada: { role: "admin" } },
      audit: { sinks: [{ kind: "file", path: join(dir, "audit.jsonl") }] },
      console: { directory: join(dir, "console") },
    };
  });
  after(async () => {
    await processes.stopAll();
    rmSync(dir, { recursive: true, force: true });
  });

  const check = (change: Settings = {}): Promise<Ended> => {
    const config = join(dir, `fleet-${(made += 1)}.yaml`);
    writeFileSync(config, stringify({ ...good, ...change }), { mode: 0o600 });
    return runToEnd("fleet", ["--config", config, "--check"]);
  };
  const certificates = (change: Settings): Settings => ({
    certificates: { ...(good["certificates"] as Settings), ...change },
  });

  test("in a good world every row is ok, and what it leaves is a certificate of half a minute", async () => {
    const issued = async (): Promise<number> =>
      (await bao.call<{ data: { keys: string[] } }>("LIST", "pki/certs")).data.keys.length;
    const { code, out, err } = await check();
    const rows = rowsOf(out);
    assert.deepEqual(
      rows.filter(({ verdict }) => verdict !== "ok"),
      [],
      out,
    );
    assert.deepEqual([code, err], [0, ""]);
    for (const name of [
      "listen",
      "tls",
      "trust bundle",
      "certificate server",
      "backend main login",
      "registry",
      "tokens",
      "approvals",
      "redis rights",
      "integrity",
      "certificates of nodes",
      "console",
    ])
      assert.ok(
        rows.some((row) => row.name === name),
        `${name} has a row`,
      );
    assert.match(out, /pki\/sign\/claviger-node signs; tried with a name of no cluster, for 30 s/);
    assert.equal(await issued(), 1);
    assert.ok(!out.includes(readFileSync(join(dir, "fleet.token"), "utf8")));
  });

  test("several problems are said at once, and what they hold up is not tried", async () => {
    const stranger = await createCa({ trustDomain: "else.example", validity: 1 });
    const other = await writeCa(join(dir, "stranger"), stranger);
    const { code, out } = await check({
      ...certificates({ trustBundle: other.cert }),
      backends: {
        main: {
          kind: "vault",
          addresses: ["http://127.0.0.1:9"],
          auth: { kind: "token", file: join(dir, "fleet.token") },
        },
      },
      audit: { sinks: [{ kind: "file", path: "/nowhere/audit.jsonl" }] },
    });
    const rows = rowsOf(out);
    const verdictOf = (name: string): string => rows.find((row) => row.name.startsWith(name))?.verdict ?? "no row";
    assert.equal(code, 1);
    for (const name of ["trust bundle", "backend main http:", "audit file"])
      assert.equal(verdictOf(name), "failed", out);
    for (const name of ["backend main login", "registry", "tokens", "approvals", "integrity", "certificates of nodes"])
      assert.equal(verdictOf(name), "not tried", out);
    assert.match(out, /has no CA that signed this service's own certificate/);
  });

  const rowOf = async (change: Settings, name: string): Promise<string> => {
    const { code, out, err } = await check(change);
    const bad = rowsOf(out).filter(({ verdict }) => verdict === "failed");
    assert.deepEqual([...new Set(bad.map((row) => row.name))], [name], out + err);
    assert.equal(code, 1);
    return bad[0]?.found ?? "";
  };

  test("a PKI role that is not there, or that signs nothing of this trust domain", async () => {
    const ca = { kind: "vault", backend: "main", mount: "pki", role: "another" };
    assert.match(await rowOf(certificates({ ca }), "certificates of nodes"), /backend_denied/);
    const role = (await bao.call<{ data: Settings }>("GET", "pki/roles/claviger-node")).data;
    await bao.call("POST", "pki/roles/claviger-node", { ...role, allowed_uri_sans: ["spiffe://else.example/*"] });
    assert.match(
      await rowOf({}, "certificates of nodes"),
      /URI Subject Alternative Names .*not valid for this role.*what to do: claviger vault init --for fleet/,
    );
    await bao.call("POST", "pki/roles/claviger-node", role);
  });

  test("an authority whose certificates could not be renewed here", async () => {
    const [own, other] = await Promise.all([
      createCa({ trustDomain, validity: 1 }),
      createCa({ trustDomain, validity: 1 }),
    ]);
    const home = join(dir, "other-authority");
    await writeCa(home, other);
    await writeCa(join(dir, "unrelated"), own);
    const found = await rowOf(certificates({ ca: { kind: "directory", directory: home } }), "certificates of nodes");
    assert.match(
      found,
      /signs with a CA that is not in tls\.clientCa: no node could renew.*add that CA to tls\.clientCa/s,
    );
  });

  test("a registry that cannot be read, and a mount of another kind", async () => {
    const file = join(dir, "broken.yaml");
    writeFileSync(file, "clusters: [{ name: x }]\n");
    assert.match(await rowOf({ registry: { kind: "file", file } }, "registry"), /clusters/);
    const registry = { kind: "vault", backend: "main", mount: "other", path: "registry" };
    assert.match(await rowOf({ registry }, "registry"), /backend_denied|mount/);
  });

  test("a directory of tokens that cannot be written to", async (t) => {
    if (process.getuid?.() === 0) {
      const tokens = { kind: "directory", directory: "/nowhere/tokens" };
      assert.match(await rowOf({ tokens }, "tokens"), /\/nowhere cannot be written to \(ENOENT\)/);
      return;
    }
    const directory = join(dir, "closed");
    mkdirSync(directory);
    chmodSync(directory, 0o500);
    t.after(() => chmodSync(directory, 0o700));
    assert.match(await rowOf({ tokens: { kind: "directory", directory } }, "tokens"), /EACCES/);
  });

  test("pages that are not there, or are none, and an issuer that browsers could not log in at", async () => {
    const { code, out } = await check({ console: {} });
    assert.equal(code, 0, "a start works");
    assert.match(out, /console +warning .*gateway\/fleet\/src\/console is not there: the console is not served/);
    assert.match(
      await rowOf({ console: { directory: join(dir, "pki") } }, "console"),
      /is no console as 'npm run build' makes it/,
    );
    const closed = "https://127.0.0.1:9";
    const login = {
      oidc: { corp: { issuer: closed, audience: "claviger", groups: { staff: { role: "viewer" } } } },
      console: { directory: join(dir, "console"), url: "https://fleet.example:8444", login: { issuer: "corp" } },
    };
    assert.match(await rowOf(login, "console login"), /https:\/\/127\.0\.0\.1:9 cannot be reached \(ECONNREFUSED\)/);
  });

  test("a node's certificate instead of the service's own", async () => {
    const pair = await writePem({
      dir,
      name: "node",
      pair: await issueNode({ ca: pki.authority, cluster: "x", node: "n" }),
    });
    const { code, out } = await check({ tls: { ...pair, clientCa: pki.ca } });
    assert.equal(code, 1);
    assert.match(out, /tls +failed .*server/);
  });
});
