// What `claviger init` writes for each distribution: the form that its documentation wants, and nothing over what is there.
import assert from "node:assert/strict";
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { parse, parseAllDocuments } from "yaml";
import { distros } from "@claviger/cli/src/init/plan.ts";
import { runCli } from "@claviger/cli/src/run.ts";
import { loadShimConfig } from "@claviger/shim/src/config.ts";
import { readApiServer } from "@claviger/cli/src/doctor/node/apiserver.ts";
import { readEncryptionConfig } from "@claviger/cli/src/doctor/node/encryption-config.ts";

const root = mkdtempSync(join(tmpdir(), "claviger-init-"));
after(() => rmSync(root, { recursive: true, force: true }));
let count = 0;

async function init(distro: string, ...args: readonly string[]) {
  const dir = join(root, String((count += 1)));
  const [out, err]: [string[], string[]] = [[], []];
  const form = distro === "talos" ? "static-pod" : "systemd";
  const base = ["--cluster", "prod-eu", "--node", "cp-1", "--gateway", "https://a.example:8443"];
  const given = args.includes("--form") ? args : ["--form", form, ...args];
  const at = given.includes("--out") ? [] : ["--out", dir];
  const terminal = {
    out: (line: string) => out.push(line),
    err: (line: string) => err.push(line),
    env: {},
    home: root,
  };
  const status = await runCli(["init", "--distro", distro, ...base, ...given, ...at], terminal);
  const read = (name: string): string => readFileSync(join(dir, name), "utf8");
  return { dir, status, out: out.join("\n"), err: err.join("\n"), read };
}

const phases = ["encryption-1-read.yaml", "encryption-2-write.yaml", "encryption-3-migrated.yaml"];
const kindsOf = (file: string, text: string) =>
  readEncryptionConfig(file, text)[0]?.providers.map(({ kind, kms }) => kms?.name ?? kind);

suite("claviger init", () => {
  for (const distro of distros)
    test(`${distro}: shim.yaml is one, each phase has its order, and each file says where it goes`, async () => {
      const { dir, status, out, err, read } = await init(distro);
      assert.equal(status, 0, err);
      const files = readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((name) => /\.|flags/.test(name));
      for (const name of files) assert.match(out, new RegExp(`${RegExp.escape(name)} +\\S`));
      assert.match(err, new RegExp(`docs/install/${distro}\\.md`));
      for (const name of phases) assert.equal(statSync(join(dir, name)).mode & 0o777, 0o600);
      if (distro === "talos") return;
      const config = loadShimConfig(join(dir, "shim.yaml"), {}, {});
      assert.deepEqual(config.gateways, ["https://a.example:8443"]);
      assert.deepEqual(
        phases.map((name) => kindsOf(name, read(name))),
        [["identity", "claviger"], ["claviger", "identity"], ["claviger"]],
      );
    });

  test("providers in use go on reading, and other resources stay as they are", async () => {
    const existing = join(root, "existing.yaml");
    const aescbc = { aescbc: { keys: [{ name: "k", secret: Buffer.alloc(32, 1).toString("base64") }] } };
    const resources = [
      { resources: ["configmaps"], providers: [{ identity: {} }] },
      { resources: ["secrets"], providers: [aescbc] },
    ];
    const document = { apiVersion: "apiserver.config.k8s.io/v1", kind: "EncryptionConfiguration", resources };
    writeFileSync(existing, JSON.stringify(document));
    const { status, read } = await init("rke2", "--existing", existing);
    assert.equal(status, 0);
    assert.deepEqual(
      phases.map((name) => kindsOf(name, read(name))),
      [["aescbc", "claviger"], ["claviger", "aescbc", "identity"], ["claviger"]],
    );
    for (const name of phases) {
      const { resources: all } = parse(read(name)) as { resources: { resources: string[] }[] };
      assert.deepEqual(all[1], resources[0]);
    }
    assert.match(read(phases[0] ?? ""), /AQEBAQEB/);
    const none = join(root, "none.yaml");
    writeFileSync(none, JSON.stringify({ ...document, resources: [resources[0]] }));
    assert.match((await init("rke2", "--existing", none)).err, /says nothing of secrets/);
    writeFileSync(none, JSON.stringify({ ...document, resources: [{ ...resources[1], resources: ["secrets", "x"] }] }));
    assert.match((await init("rke2", "--existing", none)).err, /secrets, x in one entry/);
    writeFileSync(none, "a: 1\n");
    assert.match((await init("rke2", "--existing", none)).err, /is no EncryptionConfiguration/);
    const kms = { kms: { apiVersion: "v2", name: "claviger", endpoint: "unix:///run/other.sock" } };
    for (const resource of ["secrets", "configmaps"]) {
      const more = [{ resources: ["secrets"], providers: [aescbc] }].filter(() => resource !== "secrets");
      writeFileSync(
        none,
        JSON.stringify({ ...document, resources: [{ resources: [resource], providers: [kms] }, ...more] }),
      );
      assert.match((await init("rke2", "--existing", none)).err, /has a provider called claviger already/);
    }
    for (const wildcard of ["*.", "*.*"]) {
      writeFileSync(none, JSON.stringify({ ...document, resources: [{ resources: [wildcard], providers: [aescbc] }] }));
      assert.match(
        (await init("rke2", "--existing", none)).err,
        /has secrets under \*\.\*? alone: give secrets an entry/,
      );
    }
  });

  test("names of what is in use stay texts to a reader of YAML 1.1, as kube-apiserver is", async () => {
    const existing = join(root, "names.yaml");
    for (const name of ["on", "y", "012", "1_000", "1:30", "1e3", "null", "~"]) {
      const kms = { kms: { apiVersion: "v2", name, endpoint: "unix:///run/other.sock" } };
      const resources = [{ resources: ["secrets"], providers: [kms] }];
      writeFileSync(
        existing,
        JSON.stringify({ apiVersion: "apiserver.config.k8s.io/v1", kind: "EncryptionConfiguration", resources }),
      );
      const { read } = await init("generic", "--existing", existing);
      for (const version of ["1.1", "1.2"] as const) {
        const whole = parse(read("encryption-1-read.yaml"), { version }) as {
          resources: { providers: (typeof kms)[] }[];
        };
        assert.equal(whole.resources[0]?.providers[0]?.kms.name, name, version);
      }
    }
  });

  test("a path or an image that a URL, a unit or YAML would take for something else is refused", async () => {
    for (const socket of [
      "/run/a b/kms.sock",
      "/run/a#b/kms.sock",
      "/run/a%b/kms.sock",
      "/run/../kms.sock",
      "/kms.sock",
      "run/a/kms.sock",
      "/run/a:b/kms.sock",
      "/run/ü/kms.sock",
      "/run/a/",
    ])
      assert.match((await init("generic", "--socket", socket)).err, /Must be an absolute path/, socket);
    for (const image of ["a b", "x: y", "$&", "", "#", "a'b"])
      assert.match((await init("generic", "--image", image)).err, /Must be the name of an image/, image);
  });

  test("kubeadm: arguments and volumes as v1beta4 has them, and a JSON patch that makes the same of a pod", async () => {
    const { read } = await init("kubeadm");
    const config = parse(read("kubeadm-config.yaml")) as {
      apiVersion: string;
      apiServer: { extraArgs: { name: string; value: string }[]; extraVolumes: Record<string, unknown>[] };
    };
    assert.equal(config.apiVersion, "kubeadm.k8s.io/v1beta4");
    const file = "/etc/kubernetes/enc/encryption.yaml";
    assert.deepEqual(config.apiServer.extraArgs[0], { name: "encryption-provider-config", value: file });
    assert.deepEqual(config.apiServer.extraVolumes.map(Object.keys).flat().slice(0, 5), [
      "name",
      "hostPath",
      "mountPath",
      "readOnly",
      "pathType",
    ]);
    type Pod = {
      spec: { containers: { name: string; command: unknown[]; volumeMounts: unknown[] }[]; volumes: unknown[] };
    };
    const pod: Pod = {
      spec: { containers: [{ name: "kube-apiserver", command: ["kube-apiserver"], volumeMounts: [] }], volumes: [] },
    };
    const container = pod.spec.containers[0];
    assert.ok(container !== undefined);
    const lists: Record<string, unknown[]> = {
      "/spec/containers/0/command/-": container.command,
      "/spec/containers/0/volumeMounts/-": container.volumeMounts,
      "/spec/volumes/-": pod.spec.volumes,
    };
    for (const { op, path, value } of parse(read("patches/kube-apiserver+json.yaml")) as {
      op: string;
      path: string;
      value: unknown;
    }[]) {
      assert.equal(op, "add");
      lists[path]?.push(value);
    }
    const { flags, mounts } = readApiServer("patched", JSON.stringify(pod));
    assert.equal(flags.get("encryption-provider-config"), file);
    assert.equal(flags.get("encryption-provider-config-automatic-reload"), "true");
    assert.deepEqual(
      mounts.map(({ inPod, onHost }) => [inPod, onHost]),
      [
        ["/etc/kubernetes/enc", "/etc/kubernetes/enc"],
        ["/run/claviger", "/run/claviger"],
      ],
    );
  });

  test("k3s and RKE2: arguments that are added; mounts where kube-apiserver is in a pod", async () => {
    const k3s = parse((await init("k3s")).read("claviger.yaml")) as Record<string, string[]>;
    assert.deepEqual(Object.keys(k3s), ["kube-apiserver-arg+"]);
    const rke2 = await init("rke2");
    const config = parse(rke2.read("claviger.yaml")) as Record<string, string[]>;
    assert.deepEqual(config["kube-apiserver-arg+"], [
      "encryption-provider-config=/etc/rancher/rke2/claviger/encryption.yaml",
      "encryption-provider-config-automatic-reload=true",
    ]);
    assert.deepEqual(config["kube-apiserver-extra-mount+"], [
      "/etc/rancher/rke2/claviger:/etc/rancher/rke2/claviger:ro",
      "/run/claviger:/run/claviger",
    ]);
    assert.match(rke2.read("claviger-shim.service"), /^Before=rke2-server\.service$/m);
  });

  test("kind: what is mounted, and where kubeadm finds its patches", async () => {
    const { read } = await init("kind");
    const { nodes } = parse(read("kind.yaml")) as {
      nodes: { extraMounts: { containerPath: string }[]; kubeadmConfigPatches: string[] }[];
    };
    const paths = nodes[0]?.extraMounts.map(({ containerPath }) => containerPath);
    assert.deepEqual(paths, ["/run/claviger", "/etc/kubernetes/enc", "/etc/kubernetes/patches"]);
    assert.deepEqual(parse(nodes[0]?.kubeadmConfigPatches[0] ?? ""), {
      kind: "InitConfiguration",
      patches: { directory: "/etc/kubernetes/patches" },
    });
  });

  test("Talos: files below /var, the pod in kube-apiserver's group, and a document that replaces the one before", async () => {
    const { read } = await init("talos");
    const { machine } = parse(read("machine.yaml")) as {
      machine: {
        files: { path: string; op: string; content: string }[];
        pods: { spec: { securityContext: object; volumes: { hostPath: { path: string } }[] } }[];
      };
    };
    for (const { path, op } of machine.files) assert.match(`${op} ${path}`, /^create \/var\/lib\/claviger\//);
    const shim = join(root, "talos-shim.yaml");
    writeFileSync(shim, machine.files[0]?.content ?? "");
    assert.equal(loadShimConfig(shim, {}, {}).socket.group, 65_534);
    assert.partialDeepStrictEqual(machine.pods[0]?.spec.securityContext, { runAsUser: 0, runAsGroup: 65_534 });
    const [remove, add] = parseAllDocuments(read("encryption-2-write.yaml")).map((one) => one.toJS() as object);
    assert.deepEqual(remove, { apiVersion: "v1alpha1", kind: "KubeEtcdEncryptionConfig", $patch: "delete" });
    assert.partialDeepStrictEqual(add, { apiVersion: "v1alpha1", kind: "KubeEtcdEncryptionConfig" });
    const { config } = add as { config: object };
    const whole = { apiVersion: "apiserver.config.k8s.io/v1", kind: "EncryptionConfiguration", ...config };
    assert.deepEqual(kindsOf("talos", JSON.stringify(whole)), ["claviger", "identity"]);
    assert.match((await init("talos", "--form", "systemd")).err, /Talos has no units/);
    assert.match((await init("talos", "--enroll", "https://f.example:8443")).err, /no shell to enroll in/);
  });

  test("a node that enrolls has one file for certificate and key, and renews it", async () => {
    const { dir } = await init("kubeadm", "--enroll", "https://fleet.example:8444");
    const { tls, renewal } = loadShimConfig(join(dir, "shim.yaml"), {}, {});
    assert.deepEqual([tls.cert, tls.key, renewal?.url], [tls.key, tls.cert, "https://fleet.example:8444"]);
  });

  test("a static pod is the shipped one with the image that was given", async () => {
    const { read } = await init("kubeadm", "--form", "static-pod", "--image", "registry.example/shim:1");
    const shipped = readFileSync(join(import.meta.dirname, "../../../../infra/shim/static-pod.yaml"), "utf8");
    assert.equal(read("claviger-shim.yaml"), shipped.replace(/^( *image: ).*$/m, "$1registry.example/shim:1"));
  });

  test("another directory of the socket is the one that is made, written to and mounted", async () => {
    const socket = ["--socket", "/run/kms/claviger.sock"];
    const unit = await init("generic", ...socket);
    assert.match(unit.read("claviger-shim.service"), /^ReadWritePaths=-\/run\/kms$/m);
    assert.match(unit.read("claviger.conf"), /^d \/run\/kms 0750/m);
    const pod = await init("kubeadm", ...socket, "--form", "static-pod");
    assert.doesNotMatch(pod.read("claviger-shim.yaml") + pod.read("kubeadm-config.yaml"), /\/run\/claviger/);
    for (const bad of ["kms.sock", "/kms.sock", `/run/${"x".repeat(120)}`])
      assert.match((await init("generic", "--socket", bad)).err, /Must be an absolute path in a directory/);
  });

  test("nothing is overwritten without --force", async () => {
    const first = await init("generic");
    const before = first.read("shim.yaml");
    const again = ["--out", first.dir, "--socket", "/run/other/kms.sock"];
    const refused = await init("generic", ...again);
    assert.equal(refused.status, 1);
    assert.match(refused.err, /shim\.yaml.* would be overwritten; give --force/);
    assert.equal(first.read("shim.yaml"), before);
    assert.equal((await init("generic", ...again, "--force")).status, 0);
    assert.match(first.read("shim.yaml"), /\/run\/other\/kms\.sock/);
  });

  test("no file is written through a link that stands there, with --force or without", async () => {
    const { dir } = await init("generic");
    const aim = join(root, "aim");
    rmSync(join(dir, "shim.yaml"));
    symlinkSync(aim, join(dir, "shim.yaml"));
    assert.match((await init("generic", "--out", dir)).err, /shim\.yaml.* would be overwritten/);
    assert.equal((await init("generic", "--out", dir, "--force")).status, 0);
    assert.ok(!existsSync(aim) && lstatSync(join(dir, "shim.yaml")).isFile());
  });

  test("names and addresses that there cannot be are refused", async () => {
    const rest = ["--distro", "generic", "--form", "systemd", "--out", join(root, "never")];
    const run = async (...args: readonly string[]) => {
      const err: string[] = [];
      const terminal = { out: () => {}, err: (line: string) => err.push(line), env: {}, home: root };
      return [await runCli(["init", ...rest, ...args], terminal), err.join()] as const;
    };
    const [bad, said] = await run("--cluster", "no/slash", "--node", "n", "--gateway", "https://a:1");
    assert.equal(bad, 2);
    assert.match(said, /Must be /);
    assert.equal((await run("--cluster", "c", "--node", "n", "--gateway", "http://a:1"))[0], 2);
  });
});
