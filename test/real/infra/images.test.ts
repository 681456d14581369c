// What the Dockerfiles do, done without Docker: bundles built, their contents listed, each image's
// file tree put together and run by chroot as the image's user. The Dockerfiles themselves cannot
// be built where there is no Docker daemon; their steps are these commands.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { createProcessGroup, type LabProcess, readyLine } from "../../lab/process-group.ts";

const root = join(import.meta.dirname, "..", "..", "..");
async function run(file: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(file, [...args], { cwd: root });
  return stdout;
}
const programs = { "claviger-shim": "shim", "claviger-gateway": "gateway", "claviger-fleet": "fleet" } as const;
const user = "65532";

/** `["/usr/bin/node", …]` of a Dockerfile's instruction. */
function instruction(image: string, word: "ENTRYPOINT" | "RUN"): readonly string[] {
  const text = readFileSync(join(root, "infra", "image", `${image}.Dockerfile`), "utf8");
  const found = new RegExp(`^${word} (\\[.*\\])$`, "m").exec(text)?.[1];
  assert.ok(found !== undefined, `${image}.Dockerfile has no ${word}`);
  return JSON.parse(found) as string[];
}

suite("The bundles and images", () => {
  const dir = mkdtempSync(join(tmpdir(), "claviger-img-"));
  const processes = createProcessGroup(dir);
  const tree = (image: string): string => join(dir, image);
  const write = (image: string, path: string, text: string): void => writeFileSync(join(tree(image), path), text);

  /** The program of an image, as a container of it runs: its entry point as 65532, with nothing else there. */
  const inImage = (image: string): readonly string[] => [
    "chroot",
    `--userspec=${user}:${user}`,
    tree(image),
    ...instruction(image, "ENTRYPOINT"),
    "--config",
    `/etc/claviger/${image}.yaml`,
  ];
  const start = (image: string): LabProcess =>
    processes.start(image, inImage(image), { NODE_COMPILE_CACHE: "/app/cache" });

  before(async () => {
    assert.equal(process.getuid?.(), 0, "these tests use chroot: run them as root");
    await run(process.execPath, "infra/build.ts", "--outdir", dir);
    for (const [bundle, image] of Object.entries(programs)) {
      await run(
        process.execPath,
        "infra/image/rootfs.ts",
        "--bundle",
        join(dir, `${bundle}.mjs`),
        "--out",
        tree(image),
        ...(image === "fleet" ? ["--console", join(dir, "console")] : []),
      );
      await run("chroot", tree(image), "/usr/bin/node", "--version");
      for (const path of ["etc/claviger", "run/claviger", "var/lib/claviger"])
        mkdirSync(join(tree(image), path), { recursive: true });
      await run("chown", `${user}:${user}`, join(tree(image), "run/claviger"), join(tree(image), "var/lib/claviger"));
    }
  });
  after(async () => {
    await processes.stopAll();
    rmSync(dir, { recursive: true, force: true });
  });

  test("the shim's bundle holds neither fastify nor ioredis nor node-vault", () => {
    const packages = JSON.parse(readFileSync(join(dir, "claviger-shim.packages.json"), "utf8")) as string[];
    assert.ok(packages.includes("@grpc/grpc-js"), "the list is not the shim's");
    const foreign = packages.filter((name) =>
      /^(?:fastify|@fastify\/.*|ioredis|node-vault|axios|commander|@peculiar\/.*)$/.test(name),
    );
    assert.deepEqual(foreign, []);
  });

  test("an image's tree has no shell, no package manager and nothing that its user may write", async () => {
    for (const image of Object.values(programs)) {
      assert.deepEqual(readdirSync(join(tree(image), "usr", "bin")), ["node"]);
      assert.equal(existsSync(join(tree(image), "bin")), false);
      const writable = await run("find", tree(image), "-mindepth", "1", "-user", user, "-not", "-path", "*/claviger");
      assert.equal(writable, "");
    }
  });

  test("the step that fills the compile cache fills it, with the flags of the entry point", async () => {
    for (const image of Object.values(programs)) {
      const warm = instruction(image, "RUN");
      assert.deepEqual(warm, [...instruction(image, "ENTRYPOINT"), "--help"]);
      await promisify(execFile)("chroot", [tree(image), ...warm], {
        env: { ...process.env, NODE_COMPILE_CACHE: "/app/cache" },
      });
      assert.ok(readdirSync(join(tree(image), "app", "cache"), { recursive: true }).length > 1, image);
    }
  });

  test("shim and gateway, each in its image's tree as 65532, serve what kube-apiserver asks; the CLI's bundle checks it", async () => {
    const cli = (...args: readonly string[]): Promise<string> =>
      run(process.execPath, join(dir, "claviger.mjs"), ...args);
    const pki = join(dir, "pki");
    await cli("pki", "init", "--dir", pki, "--trust-domain", "fleet.example");
    await cli("pki", "gateway", "--dir", pki, "--ip", "127.0.0.1");
    await cli("pki", "node", "--dir", pki, "--cluster", "edge", "--node", "n1");
    await cli("pki", "gateway", "--dir", pki, "--ip", "127.0.0.1", "--name", "fleet");
    await cli("pki", "operator", "--dir", pki, "--name", "ada");
    for (const [image, pair] of [
      ["gateway", "gateway"],
      ["fleet", "fleet"],
      ["shim", "edge_n1"],
    ] as const) {
      write(image, "etc/claviger/tls.crt", readFileSync(join(pki, `${pair}.crt`), "utf8"));
      write(image, "etc/claviger/tls.key", readFileSync(join(pki, `${pair}.key`), "utf8"));
      write(image, "etc/claviger/ca.crt", readFileSync(join(pki, "ca.crt"), "utf8"));
    }
    write(
      "gateway",
      "etc/claviger/gateway.yaml",
      `listen: { address: 127.0.0.1, port: 0 }
admin: { address: 127.0.0.1, port: 0 }
tls: { cert: /etc/claviger/tls.crt, key: /etc/claviger/tls.key, clientCa: /etc/claviger/ca.crt }
trustDomain: fleet.example
registry: { kind: file, file: /etc/claviger/clusters.yaml }
backends: { local: { kind: embedded, file: /var/lib/claviger/keys.json } }
audit: { sinks: [{ kind: stdout }] }
`,
    );
    write(
      "gateway",
      "etc/claviger/clusters.yaml",
      "clusters: [{ name: edge, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RA, state: active, rotation: auto, keys: [{ backend: local, mount: transit, key: edge }] }]\n",
    );
    const { listen } = await readyLine(start("gateway"));
    write(
      "shim",
      "etc/claviger/shim.yaml",
      `socket: { path: /run/claviger/kms.sock, mode: "0660" }
gateways: ["${String(listen)}"]
tls: { cert: /etc/claviger/tls.crt, key: /etc/claviger/tls.key, ca: /etc/claviger/ca.crt }
health: { address: 127.0.0.1, port: 0 }
`,
    );
    await readyLine(start("shim"));
    await cli("check", "--socket", join(tree("shim"), "run/claviger/kms.sock"));
  });

  test("the fleet service, in its image's tree as 65532, gives a node its certificate", async () => {
    const [pki, image] = [join(dir, "pki"), tree("fleet")];
    await run("cp", "-r", pki, join(image, "var/lib/claviger/authority"));
    await run("chown", "-R", `${user}:${user}`, join(image, "var/lib/claviger/authority"));
    write(
      "fleet",
      "etc/claviger/clusters.yaml",
      readFileSync(join(tree("gateway"), "etc/claviger/clusters.yaml"), "utf8"),
    );
    write(
      "fleet",
      "etc/claviger/fleet.yaml",
      `listen: { address: 127.0.0.1, port: 0 }
admin: { address: 127.0.0.1, port: 0 }
tls: { cert: /etc/claviger/tls.crt, key: /etc/claviger/tls.key, clientCa: /etc/claviger/ca.crt }
trustDomain: fleet.example
registry: { kind: file, file: /etc/claviger/clusters.yaml }
certificates: { ca: { kind: directory, directory: /var/lib/claviger/authority }, trustBundle: /etc/claviger/ca.crt }
tokens: { kind: directory, directory: /var/lib/claviger/tokens }
gateways: ["https://gateway.example:8443"]
operators: { ada: { role: admin } }
audit: { sinks: [{ kind: stdout }] }
`,
    );
    const [program = "", ...args] = inImage("fleet");
    const checked = await run(program, ...args, "--check");
    assert.match(checked, /certificates of nodes +ok/);
    assert.doesNotMatch(checked, /failed|not tried/);
    const { listen } = await readyLine(start("fleet"));
    const operator = ["ca.crt", "operator-ada.crt", "operator-ada.key"].map((file) => join(pki, file));
    const [ca = "", cert = "", key = ""] = operator;
    const of = ["--fleet", String(listen), "--ca", ca, "--cert", cert, "--key", key];
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [
      join(dir, "claviger.mjs"),
      "node",
      "token",
      "edge/n2",
      "--reason",
      "a test",
      ...of,
    ]);
    const token = join(dir, "token");
    writeFileSync(token, stdout, { mode: 0o600 });
    const pin = /--ca-pin (sha256:[0-9a-f]+)/.exec(stderr)?.[1] ?? "";
    const shim = join(dir, "claviger-shim.mjs");
    const to = join(dir, "enrolled");
    const enroll = ["--url", String(listen), "--token-file", token, "--ca-pin", pin, "--dir", to];
    await run(process.execPath, shim, "enroll", ...enroll);
    assert.match(
      new X509Certificate(readFileSync(join(to, "node.pem"))).subjectAltName ?? "",
      /cluster\/edge\/node\/n2$/,
    );
  });

  for (const name of ["shim", "gateway", "fleet"])
    test(`the systemd unit of the ${name} is one that systemd accepts without a remark`, async () => {
      const file = `claviger-${name}.service`;
      const unit = readFileSync(join(root, "infra", name, file), "utf8");
      // The unit names programs of the node that runs it; here stand this machine's.
      const here = join(dir, file);
      writeFileSync(here, unit.replace("/usr/bin/node", process.execPath));
      const { stdout, stderr } = await promisify(execFile)("systemd-analyze", ["verify", "--man=no", here]);
      const remarks = (stdout + stderr).split("\n").filter((line) => line.includes(`claviger-${name}`));
      assert.deepEqual(remarks, []);
    });

  test("the examples of all configurations are read without a problem", async () => {
    const { loadGatewayConfig } = await import("@claviger/gateway-core/src/config.ts");
    for (const set of ["gateway", "vault-agent", "knative"])
      loadGatewayConfig(join(root, "infra", set, "gateway.yaml"));
    const { loadShimConfig } = await import("@claviger/shim/src/config.ts");
    loadShimConfig(join(root, "infra", "shim", "shim.yaml"), {}, {});
    const { loadFleetConfig } = await import("../../../gateway/fleet/src/config.ts");
    loadFleetConfig(join(root, "infra", "fleet", "fleet.yaml"));
  });
});
