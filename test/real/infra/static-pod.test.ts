// What the chart claviger-shim does to a node in mode static-pod: its installer as it is rendered, the real shim, a real
// gateway. Instead of a kubelet a stand-in runs here that starts the shim which the manifest names, with its arguments,
// whenever that file changes; it knows one image, and starts nothing for another.
import assert from "node:assert/strict";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  watch,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { parse } from "yaml";
import { readYamlFile } from "@claviger/proto/runtime/config.ts";
import { kmsClient } from "../../lab/kms.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { freePorts, type LabProcess, logOf, until } from "../../lab/process-group.ts";
import { type Helm, openHelm, type Values } from "./chart.ts";

const shimMain = join(import.meta.dirname, "..", "..", "..", "shim", "src", "main.ts");
const known = "registry.example/claviger-shim:0.2.0";
type StaticPod = {
  readonly spec: { readonly containers: readonly { readonly image: string; readonly args: string[] }[] };
};

suite("The installer of static pods", () => {
  const dir = mkdtempSync(join(tmpdir(), "claviger-static-"));
  const node = (...path: readonly string[]): string => join(dir, "node", ...path);
  const socket = node("run", "kms.sock");
  const manifest = node("manifests", "claviger-shim.yaml");
  let lab: Lab;
  let helm: Helm;
  let config: Values;
  let stopKubelet: () => Promise<void>;

  /** The stand-in of a kubelet. */
  const startKubelet = (): (() => Promise<void>) => {
    let running: { readonly text: string; readonly proc: LabProcess | undefined } | undefined;
    let turn = Promise.resolve();
    const look = async (): Promise<void> => {
      const text = readdirSync(node("manifests")).includes("claviger-shim.yaml")
        ? readFileSync(manifest, "utf8")
        : undefined;
      if (text === running?.text) return;
      if (running?.proc !== undefined) await lab.processes.stop(running.proc);
      const container = text === undefined ? undefined : (parse(text) as StaticPod).spec.containers[0];
      const proc =
        container?.image === known
          ? lab.processes.start("static-pod", [process.execPath, shimMain, ...container.args])
          : undefined;
      running = text === undefined ? undefined : { text, proc };
    };
    const follow = (): void => void (turn = turn.then(look));
    const watcher = watch(node("manifests"), follow);
    return async () => {
      watcher.close();
      await turn;
    };
  };
  /** Starts the installer as its pod would be, with the files that the chart makes. */
  const startInstaller = async (values: Values = {}, staticPod: Values = {}): Promise<LabProcess> => {
    const manifests = await helm.render("claviger-shim", {
      image: { repository: "registry.example/claviger-shim" },
      config,
      hostPaths: { config: node("etc"), enrolled: node("lib") },
      // Absent is refused at an install, so it is written into the installer's file below.
      staticPod: { manifests: node("manifests"), tmpfiles: node("tmpfiles") },
      ...values,
    });
    const files = manifests.find(({ kind }) => kind === "ConfigMap")?.data ?? {};
    const home = mkdtempSync(join(dir, "installer-"));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(home, name), text);
    const settings = JSON.parse(files["installer.json"] ?? "") as object;
    const file = join(home, "installer.json");
    writeFileSync(file, JSON.stringify({ ...settings, lookIn: node("kubernetes"), settleSeconds: 5, ...staticPod }));
    return lab.processes.start("installer", [process.execPath, join(home, "installer.mts"), file]);
  };
  const says = (proc: LabProcess, pattern: RegExp): Promise<true> =>
    until(String(pattern), proc, () => (pattern.test(logOf(proc)) ? true : undefined));
  const answers = async (): Promise<void> => {
    const client = kmsClient(socket);
    try {
      assert.equal((await client.status()).healthz, "ok");
    } finally {
      client.close();
    }
  };

  before(async () => {
    lab = await startLab({ dir: join(dir, "lab"), backend: "embedded", redis: false });
    const [shim] = lab.shims;
    assert.ok(shim !== undefined);
    await lab.processes.stop(shim.proc);
    for (const one of ["manifests", "tmpfiles", "kubernetes", "etc"]) mkdirSync(node(one), { recursive: true });
    const { gateways, tls } = readYamlFile(shim.config) as {
      gateways: string[];
      tls: Record<"cert" | "key" | "ca", string>;
    };
    // Not yet where the shim looks for it: the node has still to enroll.
    for (const [name, file] of Object.entries(tls))
      writeFileSync(node(`enrolled-${name}`), readFileSync(file), { mode: 0o600 });
    const [port = 0] = await freePorts(1);
    config = {
      socket: { path: socket, mode: "0660", group: 65532 },
      gateways,
      tls: { cert: node("etc", "cert"), key: node("etc", "key"), ca: node("etc", "ca") },
      health: { address: "127.0.0.1", port },
    };
    helm = openHelm();
    stopKubelet = startKubelet();
  });
  after(async () => {
    await stopKubelet();
    helm.close();
    await lab.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test("it waits for the node's certificate, gives the shim its directories, and is done once the shim serves", async () => {
    const installer = await startInstaller();
    await says(installer, /waiting for .*cert/);
    assert.deepEqual(readdirSync(node("manifests")), []);
    await lab.processes.stop(installer);
    for (const name of ["cert", "key", "ca"]) renameSync(node(`enrolled-${name}`), node("etc", name));
    const again = await startInstaller();
    await says(again, /"serves"/);
    await answers();
    const { uid, gid, mode } = statSync(node("run"));
    assert.deepEqual([uid, gid, mode & 0o777], [65532, 65532, 0o750]);
    assert.match(readFileSync(node("tmpfiles", "claviger-shim.conf"), "utf8"), /^d .*run 0750 65532 65532 -$/m);
    // What `helm uninstall` does: the pod ends, and kube-apiserver keeps its socket.
    await lab.processes.stop(again);
    await answers();
  });

  test("the same again changes nothing on the node", async () => {
    const before = statSync(manifest).ino;
    const installer = await startInstaller();
    await says(installer, /"in place"/);
    await lab.processes.stop(installer);
    assert.equal(statSync(manifest).ino, before);
  });

  test("a change that serves replaces the shim", async () => {
    const installer = await startInstaller({ config: { ...config, limits: { calls: 1024 } } });
    await says(installer, /"serves"/);
    await answers();
    assert.match(readFileSync(node("etc", "shim.yaml"), "utf8"), /calls: 1024/);
    await lab.processes.stop(installer);
  });

  for (const [title, values, what] of [
    [
      "an image that does not start",
      { image: { repository: "registry.example/claviger-shim", tag: "0.0.0" } },
      /does not hold the socket/,
    ],
    ["gateways that do not answer", {}, /no gateway answers it, and one answered the shim before it/],
  ] as const)
    test(`a change that does not serve is taken back on the node: ${title}`, async () => {
      const before = readFileSync(manifest, "utf8");
      const broken = title.startsWith("gateways")
        ? { config: { ...config, gateways: ["https://127.0.0.1:1"] } }
        : values;
      const installer = await startInstaller(broken);
      await installer.ended;
      assert.equal(installer.child.exitCode, 1);
      assert.match(logOf(installer), what);
      assert.match(logOf(installer), /the node is back at what it had/);
      assert.equal(readFileSync(manifest, "utf8"), before);
      await until("the earlier shim to serve again", undefined, () =>
        answers().then(
          () => true as const,
          () => undefined,
        ),
      );
      // Tried by itself it would take the socket away again and again.
      const second = await startInstaller(broken);
      await second.ended;
      assert.equal(second.child.exitCode, 1);
      assert.match(logOf(second), /was taken back on this node/);
      await answers();
    });

  test("an installer that is cut off in the middle leaves its successor the way back", async () => {
    const before = readFileSync(manifest, "utf8");
    const broken = { image: { repository: "registry.example/claviger-shim", tag: "0.0.1" } };
    const first = await startInstaller(broken);
    await says(first, /"written/);
    first.child.kill("SIGKILL");
    await first.ended;
    const second = await startInstaller(broken);
    await second.ended;
    assert.equal(second.child.exitCode, 1);
    assert.equal(readFileSync(manifest, "utf8"), before);
    await until("the earlier shim to serve again", undefined, () =>
      answers().then(
        () => true as const,
        () => undefined,
      ),
    );
  });

  test("absent removes nothing while a connection is open or a file names the socket, and then all of it", async () => {
    const client = kmsClient(socket);
    await client.status();
    const encryption = node("kubernetes", "encryption.yaml");
    writeFileSync(encryption, `endpoint: unix://${socket}`);
    const refused = await startInstaller({}, { state: "absent" });
    await says(refused, /not removed: .*encryption\.yaml names? .*kms\.sock; 1 connections to it are open/);
    await lab.processes.stop(refused);
    rmSync(encryption);
    const connected = await startInstaller({}, { state: "absent" });
    await says(connected, /not removed: 1 connections to it are open/);
    await lab.processes.stop(connected);
    await answers();
    client.close();
    const last = await startInstaller({}, { state: "absent" });
    await says(last, /"removed"/);
    assert.deepEqual([readdirSync(node("manifests")), readdirSync(node("tmpfiles"))], [[], []]);
    // The node's own certificate is not the chart's to remove.
    assert.deepEqual(readdirSync(node("etc")).toSorted(), ["ca", "cert", "key"]);
  });
});
