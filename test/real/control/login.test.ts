// Operators log in at a real issuer, OpenBao's, and the fleet service knows them by its tokens: what stands in
// docs/control-plane.md. (docs/architecture.md #control-plane.)
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync, chmodSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { createPki, type Pki, writeRegistry } from "../../lab/fleet.ts";
import { type LabFleetService, startFleetService } from "../../lab/fleet-service.ts";
import { type BaoIssuer, setUpIssuer } from "../../lab/oidc.ts";
import { type OpenBao, startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup, freePorts, type ProcessGroup } from "../../lab/process-group.ts";
import { claviger, type CliResult } from "../cli/claviger.ts";

suite("operators log in at OpenBao", () => {
  let dir: string;
  let processes: ProcessGroup;
  let pki: Pki;
  let bao: OpenBao;
  let issuer: BaoIssuer;
  let fleet: LabFleetService;
  let config: string;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    processes = createProcessGroup(dir);
    pki = await createPki(dir);
    const [port = 0] = await freePorts(1);
    const { cert, key } = await pki.gateway("openbao");
    bao = await startOpenBao(
      processes,
      dir,
      `listener "tcp" { address = "127.0.0.1:${port}"  tls_cert_file = "${cert}"  tls_key_file = "${key}" }`,
    );
    issuer = await setUpIssuer(bao, {
      addr: `https://127.0.0.1:${port}`,
      ca: pki.ca,
      dir,
      users: { alice: ["fleet-admins"], bob: ["everybody", "fleet-operators"], zoe: ["everybody"] },
    });
    fleet = await startFleetService({
      processes,
      dir,
      pki,
      settings: {
        gateways: ["https://gateway.test:8443"],
        registry: { kind: "file", file: writeRegistry(dir, [{ name: "cluster-1", key: "cluster-1" }]) },
        oidc: {
          bao: {
            issuer: issuer.issuer,
            audience: issuer.clientId,
            ca: pki.ca,
            claims: { name: "username" },
            groups: {
              "fleet-admins": { role: "admin" },
              "fleet-operators": { role: "operator" },
              everybody: { role: "viewer" },
            },
          },
        },
      },
    });
    config = join(dir, "contexts.yaml");
    const { clientId } = issuer;
    const prod = {
      fleet: {
        url: fleet.url,
        ca: pki.ca,
        oidc: { issuer: issuer.issuer, clientId, scopes: ["operator"], ca: pki.ca },
      },
    };
    writeFileSync(config, JSON.stringify({ current: "prod", contexts: { prod } }));
  });
  after(async () => {
    await processes.stopAll();
    await rm(dir, { recursive: true, force: true });
  });

  const homeOf = (user: string): string => join(dir, "home", user);
  const as = (user: string, ...args: readonly string[]): Promise<CliResult> => {
    mkdirSync(homeOf(user), { recursive: true });
    return claviger([...args, "--config", config], { HOME: homeOf(user), BROWSER: issuer.browser(user) });
  };
  const tokensOf = (user: string): string => join(homeOf(user), ".config", "claviger", "tokens");
  const storedBy = (user: string): { readonly file: string; readonly token: string; readonly expiresAt: number } => {
    const [name, ...others] = readdirSync(tokensOf(user));
    assert.ok(name !== undefined && others.length === 0);
    const file = join(tokensOf(user), name);
    return { file, ...(JSON.parse(readFileSync(file, "utf8")) as { token: string; expiresAt: number }) };
  };
  const records = () =>
    readFileSync(fleet.audit, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);

  test("nobody is anybody before", async () => {
    const { status, out, err } = await as("alice", "whoami");
    assert.deepEqual([status, out], [1, ""]);
    assert.match(err, /^claviger: you are not logged in at https:\S+: run 'claviger login'\n$/);
  });

  test("in the browser, with a code and PKCE; the token stays in a file of theirs, and is what the service knows them by", async () => {
    const { status, out, err } = await as("alice", "login");
    assert.equal(status, 0, err);
    assert.equal(out, "");
    assert.match(err, /A browser opens\. Where none does, open this page:\nhttps:\S+code_challenge_method=S256/);
    assert.match(err, /You are logged in at https:\S+ until \S+Z; 'claviger whoami' says as whom\.\n$/);
    const { file, token, expiresAt } = storedBy("alice");
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(statSync(tokensOf("alice")).mode & 0o777, 0o700);
    assert.ok(Math.abs(expiresAt - Date.now() - 30 * 60_000) < 60_000, "the life that the issuer gives it");
    assert.ok(!err.includes(token));

    const who = await as("alice", "whoami");
    assert.equal(who.status, 0, who.err);
    assert.match(who.out, /^identity +oidc:bao:alice\nrole +admin\nclusters +all\nuntil +\S+Z\n$/);
    const made = await as("alice", "node", "token", "cluster-1/node-1", "--reason", "a test");
    assert.equal(made.status, 0, made.err);
    const { operator, outcome, target, because } = records().at(-1) ?? {};
    assert.deepEqual([operator, outcome, target, because], ["oidc:bao:alice", "ok", "cluster-1/node-1", "a test"]);
    assert.ok(!readFileSync(fleet.audit, "utf8").includes(token));
    assert.ok(!readFileSync(fleet.proc.log, "utf8").includes(token));
  });

  test("the highest role of two groups counts", async () => {
    assert.equal((await as("bob", "login")).status, 0);
    const { out } = await as("bob", "whoami", "-o", "json");
    const { identity, role } = JSON.parse(out) as Readonly<Record<string, string>>;
    assert.deepEqual([identity, role], ["oidc:bao:bob", "operator"]);
  });

  test("whom the issuer does not let in for this client is not logged in", async () => {
    const { status, err } = await as("zoe", "login");
    assert.equal(status, 1);
    assert.match(err, /the issuer https:\S+ refuses \(access_denied/);
    assert.deepEqual(readdirSync(homeOf("zoe")), []);
  });

  test("a pipeline shows the token of a file, and $CLAVIGER_TOKEN_FILE names it", async () => {
    const { token } = storedBy("alice");
    const file = join(dir, "pipeline.token");
    writeFileSync(file, `${token}\n`, { mode: 0o600 });
    const at = ["--fleet", fleet.url, "--ca", pki.ca];
    const given = await claviger(["whoami", ...at, "--token-file", file]);
    assert.match(given.out, /oidc:bao:alice/, given.err);
    const named = await claviger(["whoami", ...at], { CLAVIGER_TOKEN_FILE: file });
    assert.match(named.out, /oidc:bao:alice/, named.err);
    // A certificate on the command line is closer than the environment.
    const closer = await claviger(["whoami", ...(await fleet.options("vera"))], { CLAVIGER_TOKEN_FILE: file });
    assert.match(closer.out, /spiffe:\/\/\S+\/operator\/vera\nrole +viewer/, closer.err);
    writeFileSync(file, "not a token");
    const wrong = await claviger(["whoami", ...at, "--token-file", file]);
    assert.match(wrong.err, /pipeline\.token holds no bearer token/);
  });

  test("the issuer's key changes: tokens under the earlier one go on, and new ones count at once", async () => {
    await bao.call("POST", "identity/oidc/key/claviger/rotate", { verification_ttl: "1h" });
    assert.equal((await as("alice", "whoami")).status, 0);
    const { token: earlier } = storedBy("bob");
    assert.equal((await as("bob", "login")).status, 0);
    assert.notEqual(storedBy("bob").token.split(".")[0], earlier.split(".")[0], "another key has signed it");
    const { status, err } = await as("bob", "whoami");
    assert.equal(status, 0, err);
  });

  test("a token file that others can read is not used", async () => {
    const { file } = storedBy("bob");
    chmodSync(file, 0o640);
    const { status, err } = await as("bob", "whoami");
    assert.equal(status, 1);
    assert.match(err, /can be read by others: a token is in it/);
    chmodSync(file, 0o600);
  });

  test("a session ends, and the command says what to do", async () => {
    const { file, ...stored } = storedBy("bob");
    writeFileSync(file, JSON.stringify({ ...stored, expiresAt: Date.now() + 4000 }));
    const { status, err } = await as("bob", "whoami");
    assert.equal(status, 1);
    assert.match(err, /the session at https:\S+ ended at \S+Z: run 'claviger login'/);
  });

  test("OpenBao has no device code grant, and the command says what does it instead", async () => {
    const { status, err } = await as("alice", "login", "--device");
    assert.equal(status, 1);
    assert.match(err, /has no device code grant; log in without --device/);
  });

  test("out, twice", async () => {
    const { status, err } = await as("alice", "logout");
    assert.equal(status, 0, err);
    assert.match(err, /^You are logged out at https:\S+\. Copies of the token are good until \S+Z\.\n$/);
    assert.deepEqual(readdirSync(tokensOf("alice")), []);
    assert.match((await as("alice", "logout")).err, /You were not logged in/);
    assert.match((await as("alice", "whoami")).err, /you are not logged in/);
  });

  test("with the issuer away, who is logged in goes on", async () => {
    assert.equal((await as("alice", "login")).status, 0);
    await processes.stop(bao.proc());
    const { status, err } = await as("alice", "whoami");
    assert.equal(status, 0, err);
    const again = await as("alice", "login");
    assert.equal(again.status, 1);
    assert.match(again.err, /the issuer https:\S+ cannot be reached \(ECONNREFUSED/);
  });
});
