// `claviger doctor node` on a node that is well, and on nodes that are not: for each the row that says so, its state,
// and what to do. A real shim and gateway; the manifest and the EncryptionConfiguration are as kubeadm has them.
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, suite, test } from "node:test";
import { parse, stringify } from "yaml";
import { catalog } from "@claviger/cli/src/doctor/catalog.ts";
import type { DoctorRow } from "@claviger/cli/src/doctor/row.ts";
import { kmsConfiguration } from "../../lab/encryption.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { createLeaf } from "../../unit/certificates.ts";
import { type CliResult, claviger } from "../cli/claviger.ts";
import { clavigerHere } from "./here.ts";
import { type Files, type Run, type World, wrongs } from "./node-wrongs.ts";

type Report = {
  readonly part: string;
  readonly checks: readonly DoctorRow[];
  readonly summary: Readonly<Record<string, number>>;
};
suite("claviger doctor node", () => {
  let dir: string;
  let lab: Lab;
  let socket: string;
  let good: Files;
  let count = 0;
  let world: World;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "claviger-doctor-"));
    lab = await startLab({ dir: join(dir, "lab"), backend: "embedded", redis: false });
    const [shim] = lab.shims;
    assert.ok(shim !== undefined);
    socket = shim.socket;
    chmodSync(dirname(socket), 0o700);
    const day = 24 * 3_600_000;
    const pairOf = async (name: string, cluster: string, notAfter: number) => {
      const uri = `spiffe://lab.claviger.test/cluster/${cluster}/node/node-1`;
      const issued = {
        issuer: lab.pki.authority,
        use: "client",
        uri,
        notAfter,
        notBefore: notAfter - 2 * day,
      } as const;
      const pair = await createLeaf(issued);
      const files = { cert: join(dir, `${name}.crt`), key: join(dir, `${name}.key`) };
      writeFileSync(files.cert, pair.cert);
      writeFileSync(files.key, pair.key, { mode: 0o600 });
      return files;
    };
    const expired = await pairOf("expired", "cluster-1", Date.now() - day);
    const stranger = await pairOf("stranger", "stranger", Date.now() + day);
    const openKey = join(dir, "open.key");
    const { tls } = parse(readFileSync(shim.config, "utf8")) as { readonly tls: { readonly key: string } };
    writeFileSync(openKey, readFileSync(tls.key));
    chmodSync(openKey, 0o644);
    const gatewayPort = Number(new URL(lab.gateways[0]?.url ?? "").port);
    world = { dir, socket, gatewayPort, expired, stranger, openKey };
    const mount = (name: string, path: string, type: string) => ({ name, hostPath: { path, type } });
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "kube-apiserver", namespace: "kube-system" },
      spec: {
        hostNetwork: true,
        containers: [
          {
            name: "kube-apiserver",
            command: ["kube-apiserver", "--encryption-provider-config=/etc/kubernetes/enc/encryption.yaml"],
            volumeMounts: [
              { name: "enc", mountPath: "/etc/kubernetes/enc", readOnly: true },
              { name: "kms", mountPath: "/run/claviger" },
            ],
          },
        ],
        volumes: [mount("enc", "ENC", "Directory"), mount("kms", dirname(socket), "Directory")],
      },
    };
    good = {
      shim: readFileSync(shim.config, "utf8"),
      manifest: stringify(pod),
      encryption: kmsConfiguration("/run/claviger/kms.sock", "v2"),
    };
  });
  after(async () => {
    await lab.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const doctor = async (files: Files, { args = [], env }: Run = {}) => {
    const home = join(dir, `node-${(count += 1)}`);
    mkdirSync(join(home, "enc"), { recursive: true });
    writeFileSync(join(home, "shim.yaml"), files.shim);
    writeFileSync(join(home, "manifest.yaml"), files.manifest.replace("ENC", join(home, "enc")));
    if (files.encryption !== "") writeFileSync(join(home, "enc", "encryption.yaml"), files.encryption);
    const where = ["--config", join(home, "shim.yaml"), "--manifest", join(home, "manifest.yaml")];
    const words = ["doctor", "node", ...where, "--fix-hints", "-o", "json", ...args];
    const ended: CliResult = env === undefined ? await clavigerHere(words, home) : await claviger(words, env);
    assert.doesNotMatch(ended.err, /\n\s+at |please report/);
    return { ...ended, report: JSON.parse(ended.out) as Report };
  };
  test("a node that is well: every row is ok, each check has one, and the status is 0", async () => {
    const { status, report } = await doctor(good, { env: {} });
    assert.deepEqual(
      report.checks.filter(({ state }) => state !== "ok"),
      [],
    );
    assert.equal(status, 0);
    const missing = Object.keys(catalog.node).filter((id) => !report.checks.some((row) => row.id === id));
    // Without settings of their own they have nothing to say; `any` has where no gateway serves.
    assert.deepEqual(missing, ["node.renewal", "node.gateway.any", "node.tracing"]);
  });

  for (const { what, make, id, state, found, hint } of wrongs)
    test(what, async () => {
      const files = { ...good };
      const run = make(files, world) ?? {};
      const { status, report } = await doctor(files, run);
      const row = report.checks.find((one) => one.id === id && one.state === state);
      assert.ok(row !== undefined, JSON.stringify(report.checks, undefined, 1));
      assert.match(row.found, found);
      if (hint !== undefined) assert.match(row.hint ?? "", hint);
      assert.equal(status, report.checks.some((one) => one.state === "failure") ? 1 : 0);
    });

  test("its only gateway is stopped: the shim's own word of the outage, and what does not answer", async () => {
    const [gateway] = lab.gateways;
    assert.ok(gateway !== undefined);
    await lab.processes.stop(gateway.proc);
    // The first Status after that finds it out.
    await doctor(good);
    const { status, report } = await doctor(good);
    const stateOf = (id: string) => report.checks.find((row) => row.id === id && row.state !== "ok");
    assert.equal(stateOf("node.outage")?.state, "warning");
    assert.match(stateOf("node.outage")?.found ?? "", /^phase 1, a gateway confirmed the key \d+ s ago; https:/);
    assert.match(stateOf("node.gateway.connect")?.found ?? "", /ECONNREFUSED/);
    assert.equal(stateOf("node.clock")?.state, "skipped");
    assert.equal(stateOf("node.socket.encrypt")?.state, "failure");
    assert.equal(stateOf("node.socket.decrypt")?.state, "skipped");
    assert.equal(status, 1);
  });

  test("an option that there is not is status 2, and no hint is given unasked", async () => {
    assert.equal((await claviger(["doctor", "node", "--nonsense"])).status, 2);
    const { out, status } = await claviger(["doctor", "node", "--config", "/nowhere/shim.yaml"]);
    assert.equal(status, 1);
    assert.match(out, /^CHECK +STATE +FOUND\nnode\.config +failure +cannot be read \(ENOENT\)\n/);
    assert.doesNotMatch(out, /what to do/);
  });
});
