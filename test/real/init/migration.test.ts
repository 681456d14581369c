// What `claviger init` writes, used in turn: a Secret goes from the clear through the shim and back on a real
// kube-apiserver, readable in each phase; systemd verifies the unit, and the real shim reads shim.yaml.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { type ApiServer, type Etcd, secretPath, startApiServer, startEtcd } from "../../lab/kubernetes.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { runToEnd } from "../check/programs.ts";
import { clavigerHere } from "../doctor/here.ts";

const value = Buffer.from("what etcd must not see once it is encrypted");
const encrypted = "k8s:enc:kms:v2:claviger:";

suite("what claviger init writes", () => {
  let dir: string;
  let lab: Lab;
  let etcd: Etcd;
  let api: ApiServer;
  let out: string;
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "claviger-init-"));
    lab = await startLab({ dir: join(dir, "lab"), backend: "embedded", redis: false });
    const [shim] = lab.shims;
    const [gateway] = lab.gateways;
    assert.ok(shim !== undefined && gateway !== undefined);
    out = join(dir, "out");
    const names = ["--cluster", "cluster-1", "--node", "node-1", "--gateway", gateway.url, "--socket", shim.socket];
    const ran = await clavigerHere(["init", "--distro", "generic", "--form", "systemd", ...names, "--out", out], dir);
    assert.equal(ran.status, 0, ran.err);
    etcd = await startEtcd(lab.processes, dir);
    const encryption = phase("1-read");
    const extraArgs = ["--encryption-provider-config-automatic-reload=true"];
    api = await startApiServer({ processes: lab.processes, dir, name: "api", etcd, encryption, extraArgs });
    await api.waitReady();
  });
  after(async () => {
    await api.close();
    await lab.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const phase = (name: string): string => readFileSync(join(out, `encryption-${name}.yaml`), "utf8");
  const use = async (text: string): Promise<void> => {
    writeFileSync(join(dir, "api", "encryption.yaml"), text, { mode: 0o600 });
    await api.restart();
  };
  const isEncrypted = async (name: string): Promise<boolean> => {
    const raw = (await etcd.get(secretPath(name)))?.toString("latin1") ?? "";
    assert.notEqual(raw, "");
    assert.equal(raw.includes(value.toString()), !raw.startsWith(encrypted));
    return raw.startsWith(encrypted);
  };
  const reads = async (...names: readonly string[]): Promise<void> => {
    for (const name of names) assert.deepEqual(await api.readSecret(name), value, name);
  };

  test("a Secret is migrated phase by phase, and back, and is readable throughout", async () => {
    await api.createSecret("old", value);
    assert.equal(await isEncrypted("old"), false, "phase 1 writes in the clear");

    await use(phase("2-write"));
    await api.createSecret("new", value);
    await reads("old", "new");
    assert.deepEqual([await isEncrypted("old"), await isEncrypted("new")], [false, true]);
    await api.touchSecret("old");
    assert.equal(await isEncrypted("old"), true, "rewritten");

    await use(phase("3-migrated"));
    await reads("old", "new");

    await use(phase("1-read"));
    await reads("old", "new");
    for (const name of ["old", "new"]) await api.touchSecret(name);
    assert.deepEqual([await isEncrypted("old"), await isEncrypted("new")], [false, false]);

    // Without the shim: identity alone is what a kube-apiserver without the flag does.
    await use(phase("1-read").replace(/ +- kms:\n(?: {10,}.*\n)+/, ""));
    await reads("old", "new");
  });

  test("systemd verifies the unit, and the shim reads shim.yaml", async () => {
    const unit = readFileSync(join(out, "claviger-shim.service"), "utf8");
    const file = join(dir, "claviger-shim.service");
    // The program and Node.js are not where a node has them.
    writeFileSync(file, unit.replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`));
    const said = execFileSync("systemd-analyze", ["verify", "--man=no", file], { encoding: "utf8", stdio: "pipe" });
    assert.equal(said, "");
    const { out: rows, err } = await runToEnd("shim", ["--config", join(out, "shim.yaml"), "--check"]);
    assert.match(rows, /^configuration +ok +every setting can be read$/m, err);
  });
});
