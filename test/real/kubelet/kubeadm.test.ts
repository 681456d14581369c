// docs/install/kubeadm.md on a real kubeadm, kubelet and containerd: the shim as a static pod, kube-apiserver with what `claviger
// init` writes, the three phases, a reboot with everything encrypted, and the way back. With full durations the cluster is one that
// was there before, kube-apiserver reads each phase by itself, and in the end nothing of Claviger is left.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chownSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { parse, stringify } from "yaml";
import { type Lab, startLab } from "../../lab/lab.ts";
import { until } from "../../lab/process-group.ts";
import { claviger } from "../cli/claviger.ts";
import { releaseImages } from "./images.ts";
import { type KubeadmNode, startKubeadmNode } from "./kubeadm.ts";
import { prepareMachine } from "./machine.ts";
import { machineDir, runInside } from "./namespaces.ts";

const isFull = process.env["CLAVIGER_TEST_FULL"] === "1";
const dir = machineDir();
if (dir === undefined) await runInside(import.meta.filename);
else
  suite("A control plane of kubeadm", () => {
    const [cluster, name] = ["cluster-1", "cp-1"];
    const out = join(dir, `claviger-${cluster}-${name}`);
    const pki = "/etc/kubernetes/pki";
    const etcd = ["--etcd", "https://127.0.0.1:2379", "--etcd-ca", `${pki}/etcd/ca.crt`].concat(
      ["cert", "key"].flatMap((half) => [
        `--etcd-${half}`,
        `${pki}/apiserver-etcd-client.${half.replace("cert", "crt")}`,
      ]),
    );
    let lab: Lab;
    let node: KubeadmNode;

    const must = async (...args: readonly string[]): Promise<string> => {
      const ran = await claviger(args);
      assert.equal(ran.status, 0, `claviger ${args.join(" ")}\n${ran.out}${ran.err}`);
      return ran.out;
    };
    /** What goes onto the node, but for the EncryptionConfiguration. */
    const installShim = async (): Promise<void> => {
      const { cert, key } = await lab.pki.node(cluster, name);
      const files = {
        "tls.crt": cert,
        "tls.key": key,
        "gateway-ca.crt": lab.pki.ca,
        "shim.yaml": join(out, "shim.yaml"),
      };
      for (const path of ["/etc/claviger", "/etc/tmpfiles.d", "/etc/kubernetes/manifests"])
        mkdirSync(path, { recursive: true });
      for (const [file, from] of Object.entries(files)) {
        writeFileSync(`/etc/claviger/${file}`, readFileSync(from), { mode: 0o400 });
        chownSync(`/etc/claviger/${file}`, 65_532, 65_532);
      }
      copyFileSync(join(out, "claviger.conf"), "/etc/tmpfiles.d/claviger.conf");
      execFileSync("systemd-tmpfiles", ["--create", "/etc/tmpfiles.d/claviger.conf"]);
      copyFileSync(join(out, "claviger-shim.yaml"), "/etc/kubernetes/manifests/claviger-shim.yaml");
    };
    const usePhase = (phase: string): void => {
      mkdirSync("/etc/kubernetes/enc", { recursive: true, mode: 0o700 });
      copyFileSync(join(out, `encryption-${phase}.yaml`), "/etc/kubernetes/enc/encryption.yaml");
    };
    const reloads = (): string =>
      /^apiserver_encryption_config_controller_automatic_reloads_total\{.*status="success".*\} (\d+)$/m.exec(
        node.kubectl("get", "--raw", "/metrics"),
      )?.[1] ?? "0";
    /** Copies the file of a phase, and lets kube-apiserver read it: by itself, or faster. */
    const goTo = async (phase: string): Promise<void> => {
      const before = isFull ? reloads() : "";
      usePhase(phase);
      if (!isFull) return await node.restartApiServer();
      await until("kube-apiserver to read it", undefined, () => (reloads() === before ? undefined : true), 90_000);
    };
    const create = (secret: string): void =>
      void node.kubectl("create", "secret", "generic", secret, `--from-literal=word=${secret}`);
    const reads = (...secrets: readonly string[]): void => {
      for (const secret of secrets) {
        const word = node.kubectl("get", "secret", secret, "-o", "jsonpath={.data.word}");
        assert.equal(Buffer.from(word, "base64").toString(), secret);
      }
    };
    /** docs/operations.md: kubectl get secrets -A -o json | kubectl replace -f - */
    const rewrite = (): void => {
      const file = join(dir, "secrets.json");
      writeFileSync(file, node.kubectl("get", "secrets", "-A", "-o", "json"), { mode: 0o600 });
      node.kubectl("replace", "-f", file);
    };
    /** Secrets in etcd, as `claviger key usage` counts them. */
    const stored = async (): Promise<{ readonly clear: number; readonly encrypted: number }> => {
      const config = ["--config", lab.gateways[0]?.config ?? ""];
      const { uses, plainSecrets } = JSON.parse(await must("key", "usage", cluster, ...config, ...etcd, "--json")) as {
        readonly uses: readonly { readonly count: number }[];
        readonly plainSecrets: { readonly count: number };
      };
      return { clear: plainSecrets.count, encrypted: uses.reduce((sum, { count }) => sum + count, 0) };
    };
    const configMap = ["-n", "kube-system", "configmap", "kubeadm-config"];
    const configOf = (): string => node.kubectl("get", ...configMap, "-o", "jsonpath={.data.ClusterConfiguration}");
    /** What the guide has an administrator do by hand, and then by kubeadm. */
    const reconfigure = async (change: (config: Record<string, unknown>) => object): Promise<void> => {
      const data = { ClusterConfiguration: stringify(change(parse(configOf()) as Record<string, unknown>)) };
      node.kubectl("patch", ...configMap, "--type=merge", "-p", JSON.stringify({ data }));
      writeFileSync(join(dir, "cluster.yaml"), configOf());
      await node.replaceApiServer(() =>
        node.kubeadm("init", "phase", "control-plane", "apiserver", "--config", join(dir, "cluster.yaml")),
      );
    };

    before(async () => {
      prepareMachine(dir);
      lab = await startLab({ dir: join(dir, "lab"), gateways: 2, shims: 0 });
      const archives = await releaseImages(dir);
      const gateways = lab.gateways.flatMap(({ url }) => ["--gateway", url]);
      const form = ["--distro", "kubeadm", "--form", "static-pod"];
      await must("init", ...form, "--cluster", cluster, "--node", name, ...gateways, "--out", out);
      const ours = parse(readFileSync(join(out, "kubeadm-config.yaml"), "utf8")) as object;
      if (!isFull) {
        await installShim();
        usePhase("1-read");
      }
      node = await startKubeadmNode(lab.processes, { dir, name, archives, cluster: isFull ? {} : ours });
      await node.waitReady();
      create("old");
      if (!isFull) return;
      await installShim();
      usePhase("1-read");
      await reconfigure((config) => ({ ...config, ...ours }));
    });
    after(async () => {
      await lab?.stop();
    });

    test("kube-apiserver and the shim start as static pods, in phase 1", async () => {
      await must("check", "--socket", "/run/claviger/kms.sock");
      reads("old");
      const { clear, encrypted } = await stored();
      assert.ok(clear >= 1 && encrypted === 0, `${clear} in the clear, ${encrypted} encrypted`);
      // It warns that phase 1 writes in the clear.
      const { checks } = JSON.parse((await claviger(["doctor", "node", "-o", "json"])).out) as {
        readonly checks: readonly { readonly id: string; readonly state: string; readonly found: string }[];
      };
      assert.ok(checks.length > 30);
      const wrong = checks.filter(({ state }) => state !== "ok");
      assert.deepEqual(
        wrong.map(({ id, state }) => `${id} ${state}`),
        ["node.encryption-config.order warning"],
      );
    });

    test("phase 2 encrypts what is written, and after a rewriting everything", async () => {
      await goTo("2-write");
      create("new");
      assert.equal((await stored()).encrypted, 1);
      rewrite();
      assert.equal((await stored()).clear, 0);
      reads("old", "new");
    });

    test("a node that reboots in phase 3, when nothing can be read without the shim, comes back", async () => {
      usePhase("3-migrated");
      await node.reboot();
      reads("old", "new");
      create("newer");
      assert.equal((await stored()).clear, 0);
    });

    test("the way back leaves nothing that needs the shim", async () => {
      await goTo("1-read");
      reads("old", "new", "newer");
      rewrite();
      assert.equal((await stored()).encrypted, 0);
      reads("old", "new", "newer");
    });

    if (isFull)
      test("flags and mounts are taken out again, and the shim is removed", async () => {
        await reconfigure((config) => ({ ...config, apiServer: {} }));
        for (const path of ["/etc/kubernetes/manifests/claviger-shim.yaml", "/etc/tmpfiles.d/claviger.conf"])
          rmSync(path);
        for (const path of ["/etc/claviger", "/etc/kubernetes/enc"]) rmSync(path, { recursive: true });
        await until("the shim to be gone", undefined, () =>
          node.kubectl("get", "pods", "-n", "kube-system", "-o", "name").includes("claviger") ? undefined : true,
        );
        reads("old", "new", "newer");
      });
  });
