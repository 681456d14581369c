// infra/tofu with the real OpenTofu and a real OpenBao: the module makes what `vault init` makes, to the letter of the policies,
// and gateways serve with it. Between the two stands ./tofu-stand-in.ts in place of the Vault provider.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { type OpenBao, startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup } from "../../lab/process-group.ts";
import { findBinary, goBuildDir, isExecutable } from "../../parts/find.ts";
import { claviger } from "../cli/claviger.ts";
import { run, type Said } from "./chart.ts";
import { requestOf, resourcesOf, writeStandIn } from "./tofu-stand-in.ts";

const root = join(import.meta.dirname, "..", "..", "..");
const module = join(root, "infra", "tofu");
const key = (name: string, mount = "transit"): object => ({ backend: "main", mount, key: name });
// By name, as a registry in Vault lists them.
const clusters = [
  {
    name: "elsewhere",
    uid: "01JD9Z6X3QK8V5T7W2M4N6P8RE",
    state: "active",
    keys: [{ backend: "other", mount: "transit", key: "x" }],
  },
  { name: "lab-1", uid: "01JD9Z6X3QK8V5T7W2M4N6P8RC", state: "active", keys: [key("labs")] },
  { name: "lab-2", uid: "01JD9Z6X3QK8V5T7W2M4N6P8RD", state: "active", rotation: "manual", keys: [key("labs")] },
  {
    name: "prod-eu",
    uid: "01JD9Z6X3QK8V5T7W2M4N6P8RA",
    state: "active",
    keys: [key("prod-eu")],
    previousKeys: [key("eu", "old")],
  },
  { name: "prod-us", uid: "01JD9Z6X3QK8V5T7W2M4N6P8RB", state: "active", rotation: "manual", keys: [key("prod-us")] },
];

/** CI has OpenTofu built; elsewhere this is for those who have it: `node test/parts/install.ts --all`. */
const isHere = process.env["CI"] === "true" || isExecutable(join(goBuildDir("tofu"), "tofu"));

test("infra/tofu is what vault init says", async () => {
  const { code, stderr } = await run(process.execPath, [join(module, "generate.ts"), "--check"], { ...process.env });
  assert.equal(code, 0, stderr);
});

if (isHere)
  suite("The module for OpenTofu", () => {
    const dir = mkdtempSync(join(tmpdir(), "claviger-tofu-"));
    const processes = createProcessGroup(dir);
    const work = join(dir, "work");
    let bao: OpenBao;
    let token: string;

    const tofu = (...args: readonly string[]): Promise<Said> =>
      run(findBinary("tofu"), [`-chdir=${work}`, ...args], {
        HOME: dir,
        PATH: "",
        CHECKPOINT_DISABLE: "1",
        TF_CLI_CONFIG_FILE: "/dev/null",
        TF_IN_AUTOMATION: "1",
      });
    const done = async (said: Promise<Said>): Promise<string> => {
      const { code, stdout, stderr } = await said;
      assert.equal(code, 0, stdout + stderr);
      return stdout;
    };
    const variables = (more: object = {}): void =>
      writeFileSync(
        join(work, "terraform.tfvars.json"),
        JSON.stringify({
          clusters,
          backend: "main",
          auth: { kind: "approle" },
          registry: { mount: "claviger" },
          integrity: { mount: "transit", key: "claviger-integrity" },
          fleet: {
            trust_domain: "fleet.example",
            tokens: { mount: "claviger" },
            approvals: { mount: "waiting" },
            pki: { mount: "pki", role: "claviger-node" },
          },
          ...more,
        }),
      );
    /** What the configurations of both programs have in common. */
    const common = (): object => ({
      listen: { address: "127.0.0.1", port: 0 },
      admin: { address: "127.0.0.1", port: 0 },
      tls: { cert: join(dir, "cert"), key: join(dir, "key"), clientCa: join(dir, "ca") },
      trustDomain: "fleet.example",
      registry: { kind: "vault", backend: "main", mount: "claviger" },
      integrity: { backend: "main", mount: "transit", key: "claviger-integrity", version: 1 },
      audit: { sinks: [{ kind: "stdout" }] },
    });
    const login = (): object => ({
      kind: "vault",
      addresses: [bao.addr],
      auth: { kind: "approle", roleIdFile: join(dir, "role-id"), secretIdFile: join(dir, "secret-id") },
    });
    const init = async (...args: readonly string[]): Promise<string> => {
      const { status, out, err } = await claviger(["vault", "init", ...args], { VAULT_TOKEN: token });
      assert.equal(status, 0, out + err);
      return out;
    };

    before(async () => {
      bao = await startOpenBao(processes, dir);
      token = readFileSync(bao.tokenFile, "utf8");
      writeStandIn(work);
      variables();
      const other = { kind: "embedded", file: join(dir, "other.json") };
      writeFileSync(join(dir, "gateway.yaml"), JSON.stringify({ ...common(), backends: { main: login(), other } }));
      writeFileSync(join(dir, "records.yaml"), JSON.stringify({ clusters }));
      writeFileSync(
        join(dir, "fleet.yaml"),
        JSON.stringify({
          ...common(),
          backends: { main: login(), other },
          tokens: { kind: "vault", backend: "main", mount: "claviger" },
          approvals: { methods: ["resume"], store: { kind: "vault", backend: "main", mount: "waiting" } },
          certificates: {
            ca: { kind: "vault", backend: "main", mount: "pki", role: "claviger-node" },
            trustBundle: join(dir, "ca"),
          },
          gateways: ["https://gateway.fleet.example:8443"],
          operators: {},
        }),
      );
    });
    after(async () => {
      await processes.stopAll();
      rmSync(dir, { recursive: true, force: true });
    });

    test("it is written as OpenTofu formats it", async () => {
      await done(run(findBinary("tofu"), ["fmt", "-check", "-diff", module], { HOME: dir, PATH: "" }));
    });

    test("OpenTofu finds every expression good, applies it, and finds nothing to change after that", async () => {
      await done(tofu("init", "-input=false"));
      await done(tofu("validate"));
      await done(tofu("apply", "-auto-approve", "-input=false"));
      assert.equal((await tofu("plan", "-detailed-exitcode", "-input=false")).code, 0);
    });

    test("OpenBao takes what it makes, and vault init has nothing to add to it", async () => {
      const requests = resourcesOf(await done(tofu("show", "-json"))).map(requestOf);
      for (const { path, body } of requests.toSorted((a, b) => Number(b.first) - Number(a.first)))
        await bao.call("POST", path, body);
      await bao.call("POST", "pki/root/generate/internal", { common_name: "nodes", key_type: "ec", key_bits: 256 });
      const { status, err } = await claviger(
        ["cluster", "import", join(dir, "records.yaml"), "--config", join(dir, "gateway.yaml")],
        { VAULT_TOKEN: token },
      );
      assert.equal(status, 0, err);
      for (const args of [[], ["--for", "fleet"]]) {
        const file = join(dir, args.length === 0 ? "gateway.yaml" : "fleet.yaml");
        const said = await init(...args, "--config", file, "--backend", "main", "--dry-run");
        assert.match(said, /^ {2}present/m);
        assert.doesNotMatch(said, /^ {2}(?:create|change|CONFLICT)/m, said);
        // And what must not be possible with it is not: the command tries, once there is nothing to do.
        assert.doesNotMatch(await init(...args, "--config", file, "--backend", "main"), /FAIL|OPEN/);
      }
    });

    test("a gateway logs in with the role, and its keys encrypt and decrypt", async () => {
      const role = "auth/approle/role/claviger-gateway";
      const { data: id } = await bao.call<{ data: { role_id: string } }>("GET", `${role}/role-id`);
      const { data: secret } = await bao.call<{ data: { secret_id: string } }>("POST", `${role}/secret-id`);
      writeFileSync(join(dir, "role-id"), id.role_id, { mode: 0o600 });
      writeFileSync(join(dir, "secret-id"), secret.secret_id, { mode: 0o600 });
      const main = join(root, "gateway", "server", "src", "main.ts");
      const args = [main, "--config", join(dir, "gateway.yaml"), "--check"];
      const { stdout } = await run(process.execPath, args, { ...process.env });
      assert.match(stdout, /^backend main login +ok +approle: .*policies claviger-gateway/m);
      // A key that clusters share is tried once.
      for (const name of ["lab-2", "prod-eu", "prod-us"])
        assert.match(stdout, new RegExp(`^key of ${name} +ok .*encrypts and decrypts`, "m"));
    });

    test("a login without what binds it is refused with the reason", async () => {
      for (const [auth, pattern] of [
        ["jwt", /every token of that issuer would be a gateway/],
        ["cert", /every certificate of that CA would be a gateway/],
        ["userpass", /auth\.kind must be approle, kubernetes, jwt or cert/],
      ] as const) {
        variables({ auth: { kind: auth }, fleet: null });
        const { code, stderr } = await tofu("plan", "-input=false", "-no-color");
        assert.equal(code, 1);
        assert.match(stderr.replaceAll(/\s*[│╷╵]?\s*\n[│╷╵]?\s*/g, " "), pattern);
      }
    });
  });
