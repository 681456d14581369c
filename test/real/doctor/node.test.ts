// `claviger doctor node` on a node that is well, and on nodes that are not: for each the row that says so, its state,
// and what to do. A real shim and gateway; the manifest and the EncryptionConfiguration are as kubeadm has them.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, suite, test } from "node:test";
import { parse, stringify } from "yaml";
import { catalog } from "@claviger/cli/src/doctor/catalog.ts";
import type { DoctorRow } from "@claviger/cli/src/doctor/row.ts";
import { kmsConfiguration } from "../../lab/encryption.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { type CliResult, claviger } from "../cli/claviger.ts";
import { clavigerHere } from "./here.ts";

type Report = {
  readonly part: string;
  readonly checks: readonly DoctorRow[];
  readonly summary: Readonly<Record<string, number>>;
};
type Files = { shim: string; manifest: string; encryption: string };
/** `env`: in a process of its own. */
type Run = { readonly args?: readonly string[]; readonly env?: NodeJS.ProcessEnv };

type Broken = {
  readonly what: string;
  /** Changes the texts of the files, or something of the machine. */
  readonly make: (files: Files) => Run | void;
  readonly id: string;
  readonly state: "failure" | "warning" | "skipped";
  readonly found: RegExp;
  readonly hint?: RegExp;
};

const wrongClock = join(import.meta.dirname, "..", "..", "lab", "wrong-clock.ts");

suite("claviger doctor node", () => {
  let dir: string;
  let lab: Lab;
  let socket: string;
  let good: Files;
  let count = 0;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "claviger-doctor-"));
    lab = await startLab({ dir: join(dir, "lab"), backend: "embedded", redis: false });
    const [shim] = lab.shims;
    assert.ok(shim !== undefined);
    socket = shim.socket;
    chmodSync(dirname(socket), 0o700);
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
  const shimWith =
    (change: (config: Record<string, Record<string, unknown>>) => unknown) =>
    (files: Files): void => {
      const config = parse(files.shim) as Record<string, Record<string, unknown>>;
      change(config);
      files.shim = stringify(config);
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

  const broken: readonly Broken[] = [
    {
      what: "its clock is an hour behind",
      make: () => ({ env: { NODE_OPTIONS: `--import=${wrongClock}`, CLAVIGER_TEST_CLOCK_MS: "-3600000" } }),
      id: "node.clock",
      state: "failure",
      found: /^this machine's clock is 3(?:599|600|601) s behind$/,
      hint: /NTP/,
    },
    {
      what: "a gateway's name is not known",
      make: shimWith((config) => Object.assign(config, { gateways: ["https://gateway.invalid:8443"] })),
      id: "node.dns",
      state: "failure",
      found: /its name is not known|the name server does not answer/,
    },
    {
      what: "a gateway's name is one of the cluster",
      make: shimWith((config) => Object.assign(config, { gateways: ["https://gateway.claviger-system.svc:8443"] })),
      id: "node.dns",
      state: "failure",
      found: /one of a cluster's own name server/,
      hint: /docs\/bootstrap\.md/,
    },
    {
      what: "no gateway listens",
      make: shimWith((config) => Object.assign(config, { gateways: ["https://127.0.0.1:1"] })),
      id: "node.gateway.connect",
      state: "failure",
      found: /ECONNREFUSED/,
      hint: /start it/,
    },
    {
      what: "shim.yaml has a setting that there is not",
      make: shimWith((config) => Object.assign(config, { nonsense: 1 })),
      id: "node.config",
      state: "failure",
      found: /nonsense: no such setting/,
    },
    {
      what: "the certificate cannot be read",
      make: shimWith((config) => Object.assign(config["tls"] ?? {}, { cert: "/nowhere/tls.crt" })),
      id: "node.tls",
      state: "failure",
      found: /cannot be read \(ENOENT\)/,
    },
    {
      what: "the socket was left behind by a process that was killed",
      make: (files) => {
        const path = join(dir, "dead.sock");
        const source = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
        spawnSync(process.execPath, ["-e", source]);
        shimWith((config) => Object.assign(config["socket"] ?? {}, { path }))(files);
      },
      id: "node.socket.live",
      state: "failure",
      found: /no process listens on the socket; it was left behind/,
      hint: /start claviger-shim/,
    },
    {
      what: "no shim runs",
      make: shimWith((config) => Object.assign(config["health"] ?? {}, { port: 1 })),
      id: "node.running",
      state: "failure",
      found: /^no shim answers at http:\/\/127\.0\.0\.1:1$/,
      hint: /start claviger-shim/,
    },
    {
      what: "the socket has another mode than the configuration says",
      make: shimWith((config) => Object.assign(config["socket"] ?? {}, { mode: "0660" })),
      id: "node.socket.owner",
      state: "failure",
      found: /the socket has mode 0600, and the configuration says 0660/,
      hint: /restart claviger-shim/,
    },
    {
      what: "kube-apiserver runs as a user who may not connect",
      make: (files) => {
        files.manifest = files.manifest.replace(
          "hostNetwork: true",
          "securityContext: { runAsUser: 1001, runAsGroup: 1001 }",
        );
      },
      id: "node.apiserver.access",
      state: "failure",
      found: /user 1001, group 1001\) may not enter the socket's directory/,
      hint: /socket\.group/,
    },
    {
      what: "the manifest has no flag",
      make: (files) => {
        files.manifest = files.manifest.replace("--encryption-provider-config", "--another");
      },
      id: "node.apiserver.flag",
      state: "failure",
      found: /nothing is encrypted/,
      hint: /claviger init/,
    },
    {
      what: "the EncryptionConfiguration is not mounted",
      make: (files) => {
        files.manifest = files.manifest.replace("mountPath: /etc/kubernetes/enc", "mountPath: /etc/elsewhere");
      },
      id: "node.apiserver.config-mount",
      state: "failure",
      found: /lies in no hostPath of the pod/,
    },
    {
      what: "the EncryptionConfiguration is not there",
      make: (files) => {
        files.encryption = "";
      },
      id: "node.apiserver.config-mount",
      state: "failure",
      found: /is not there$/,
    },
    {
      what: "the socket's directory is not mounted",
      make: (files) => {
        files.manifest = files.manifest.replace("mountPath: /run/claviger", "mountPath: /run/other");
      },
      id: "node.apiserver.socket-mount",
      state: "failure",
      found: /no mount of the pod leads from \/run\/claviger\/kms\.sock/,
      hint: /type: Directory/,
    },
    {
      what: "the socket itself is mounted",
      make: (files) => {
        files.manifest = files.manifest
          .replace("mountPath: /run/claviger", "mountPath: /run/claviger/kms.sock")
          .replace(`path: ${dirname(socket)}`, `path: ${socket}`);
      },
      id: "node.apiserver.socket-mount",
      state: "failure",
      found: /the pod mounts the socket itself/,
      hint: /mount the directory/,
    },
    {
      what: "the EncryptionConfiguration is none",
      make: (files) => {
        files.encryption = "a: 1\n";
      },
      id: "node.encryption-config.readable",
      state: "failure",
      found: /is no EncryptionConfiguration/,
    },
    {
      what: "the EncryptionConfiguration leaves apiVersion out",
      make: (files) => {
        files.encryption = files.encryption.replace("apiVersion: v2, ", "");
      },
      id: "node.encryption-config.kms-v1-by-omission",
      state: "failure",
      found: /says no apiVersion/,
    },
    {
      what: "the endpoint is another socket",
      make: (files) => {
        files.encryption = files.encryption.replace("/run/claviger/kms.sock", "/run/claviger/other.sock");
      },
      id: "node.encryption-config.endpoint",
      state: "failure",
      found: /no provider has the shim's socket/,
    },
    {
      what: "identity still stands first",
      make: (files) => {
        files.encryption = files.encryption.replace(/( +- kms.*\n)( +- identity.*\n)/, "$2$1");
      },
      id: "node.encryption-config.order",
      state: "warning",
      found: /written in the clear/,
    },
    {
      what: "there is no static pod",
      make: () => ({ args: ["--manifest", "/nowhere/kube-apiserver.yaml"] }),
      id: "node.apiserver.manifest",
      state: "failure",
      found: /cannot be read \(ENOENT/,
    },
  ];

  for (const { what, make, id, state, found, hint } of broken)
    test(what, async () => {
      const files = { ...good };
      const run = make(files) ?? {};
      const { status, report } = await doctor(files, run);
      const row = report.checks.find((one) => one.id === id && one.state === state);
      assert.ok(row !== undefined, JSON.stringify(report.checks, undefined, 1));
      assert.match(row.found, found);
      if (hint !== undefined) assert.match(row.hint ?? "", hint);
      assert.equal(status, report.checks.some((one) => one.state === "failure") ? 1 : 0);
    });

  test("an option that there is not is status 2, and no hint is given unasked", async () => {
    assert.equal((await claviger(["doctor", "node", "--nonsense"])).status, 2);
    const { out, status } = await claviger(["doctor", "node", "--config", "/nowhere/shim.yaml"]);
    assert.equal(status, 1);
    assert.match(out, /^CHECK +STATE +FOUND\nnode\.config +failure +cannot be read \(ENOENT\)\n/);
    assert.doesNotMatch(out, /what to do/);
  });
});
