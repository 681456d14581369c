// A control-plane node as kubeadm makes it: etcd, kube-apiserver, kube-controller-manager and kube-scheduler as static pods on a
// real kubelet. There is no systemd: the test starts the kubelet, where a node's unit would.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import { type LabProcess, type ProcessGroup, tailOf, until } from "../../lab/process-group.ts";
import { findBinary } from "../../parts/find.ts";
import { type Containerd, startContainerd } from "./containerd.ts";
import { programImage } from "./images.ts";
import { createKubeletCgroups, kubeletSettings } from "./kubelet.ts";
import { address } from "./machine.ts";
import { pauseImage } from "./node.ts";
import { processesOf } from "./processes.ts";

const version = "v1.37.2";
const repository = "registry.invalid/kubernetes";
const images = {
  etcd: "3.7.0-0",
  "kube-apiserver": version,
  "kube-controller-manager": version,
  "kube-scheduler": version,
} as const;
const kubeletConfig = "/var/lib/kubelet/config.yaml";

export type KubeadmNode = {
  /** Runs kubeadm, as root of the node. @throws Error with what it says */
  kubeadm(...args: readonly string[]): string;
  /** Runs kubectl as the cluster's administrator. @throws Error with what it complains of */
  kubectl(...args: readonly string[]): string;
  waitReady(): Promise<void>;
  /** Until another kube-apiserver is ready, after what makes kubelet start it. */
  replaceApiServer(what: () => void): Promise<void>;
  /** kube-apiserver is killed, and started again by kubelet. */
  restartApiServer(): Promise<void>;
  /** The node goes down at once, with all its containers and what is in /run, and comes up again. */
  reboot(): Promise<void>;
};

/**
 * `kubeadm init`, without CoreDNS and kube-proxy.
 * @param options.archives of further images on the node
 * @param options.cluster what is merged into kubeadm's ClusterConfiguration
 */
export async function startKubeadmNode(
  processes: ProcessGroup,
  {
    dir,
    name,
    archives,
    cluster,
  }: {
    readonly dir: string;
    readonly name: string;
    readonly archives: readonly string[];
    readonly cluster: object;
  },
): Promise<KubeadmNode> {
  const at = { dir, name, index: 1 };
  const home = join(dir, name, "kubelet");
  mkdirSync(home, { recursive: true });
  // kubeadm looks for kubelet's version.
  const env = { ...process.env, PATH: `${dirname(findBinary("kubelet"))}:${process.env["PATH"]}` };
  const run = (file: "kubeadm" | "kubectl", args: readonly string[]): string =>
    execFileSync(findBinary(file), args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      maxBuffer: 2 ** 26,
      env,
      cwd: home,
    });
  const containers = (): Promise<Containerd> => startContainerd(processes, { ...at, pause: pauseImage });
  let containerd = await containers();
  const own = Object.entries(images).map(([program, tag]) =>
    programImage(dir, `${repository}/${program}:${tag}`, findBinary(program as keyof typeof images)),
  );
  for (const archive of [programImage(dir, pauseImage, findBinary("pause")), ...own, ...archives])
    containerd.ctr("images", "import", archive);
  createKubeletCgroups(at);

  const config = join(home, "kubeadm.yaml");
  const registration = {
    name,
    criSocket: `unix://${containerd.socket}`,
    kubeletExtraArgs: [
      { name: "node-ip", value: address },
      { name: "root-dir", value: home },
    ],
    // No image is pulled, and what preflight wants to see of a machine is in part not this one's to have.
    ignorePreflightErrors: ["ImagePull", "SystemVerification", "Swap", "FileContent--proc-sys-net-ipv4-ip_forward"],
    imagePullPolicy: "Never",
  };
  const documents = [
    {
      apiVersion: "kubeadm.k8s.io/v1beta4",
      kind: "InitConfiguration",
      nodeRegistration: registration,
      localAPIEndpoint: { advertiseAddress: address },
      skipPhases: ["addon"],
    },
    {
      apiVersion: "kubeadm.k8s.io/v1beta4",
      kind: "ClusterConfiguration",
      kubernetesVersion: version,
      imageRepository: repository,
      ...cluster,
    },
    kubeletSettings({ ...at, containerd }),
  ];
  writeFileSync(config, documents.map((document) => stringify(document)).join("---\n"));
  const init = processes.start("kubeadm-init", [findBinary("kubeadm"), "init", `--config=${config}`], env);
  await until("kubeadm to have configured the kubelet", init, () =>
    existsSync(kubeletConfig) && existsSync("/var/lib/kubelet/kubeadm-flags.env") ? true : undefined,
  );
  const startKubelet = (): LabProcess => {
    const flags = readFileSync("/var/lib/kubelet/kubeadm-flags.env", "utf8");
    return processes.start(`${name}-kubelet`, [
      findBinary("kubelet"),
      "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
      "--kubeconfig=/etc/kubernetes/kubelet.conf",
      `--config=${kubeletConfig}`,
      ...(/"(.*)"/.exec(flags)?.[1] ?? "").split(" "),
    ]);
  };
  let kubelet = startKubelet();
  await until("kubeadm init to end", undefined, () => (init.child.exitCode === null ? undefined : true), 120_000);
  if (init.child.exitCode !== 0) throw new Error(`kubeadm init failed:\n${tailOf(init, 30)}\n${tailOf(kubelet, 20)}`);

  const kubectl: KubeadmNode["kubectl"] = (...args) =>
    run("kubectl", ["--kubeconfig=/etc/kubernetes/admin.conf", ...args]);
  const waitReady = async (): Promise<void> => {
    await until(
      "kube-apiserver to be ready",
      kubelet,
      () => {
        try {
          return kubectl("get", "--raw", "/readyz", "--request-timeout=2s") === "ok" ? true : undefined;
        } catch {
          return undefined;
        }
      },
      90_000,
    );
  };
  const apiServers = (): readonly number[] => processesOf("kube-apiserver --");
  const replaceApiServer = async (what: () => void): Promise<void> => {
    const old = apiServers();
    what();
    await until(
      "another kube-apiserver",
      kubelet,
      () => (apiServers().some((pid) => !old.includes(pid)) ? true : undefined),
      90_000,
    );
    await waitReady();
  };
  return {
    kubeadm: (...args) => run("kubeadm", args),
    kubectl,
    waitReady,
    replaceApiServer,
    restartApiServer: () =>
      replaceApiServer(() => {
        for (const pid of apiServers()) process.kill(pid, "SIGKILL");
      }),
    async reboot() {
      for (const proc of [kubelet, containerd.proc]) {
        proc.child.kill("SIGKILL");
        await proc.ended;
      }
      for (const text of [
        "containerd-shim",
        "kube-apiserver",
        "etcd",
        "kube-controller-manager",
        "kube-scheduler",
        "/app/main.mjs",
        "/pause",
      ])
        for (const pid of processesOf(text)) process.kill(pid, "SIGKILL");
      const mounts = readFileSync("/proc/self/mounts", "utf8")
        .split("\n")
        .map((line) => line.split(" ")[1] ?? "");
      for (const mount of mounts.filter((path) => path.startsWith("/run/")).toReversed())
        execFileSync("umount", ["--lazy", mount]);
      for (const entry of readdirSync("/run")) rmSync(join("/run", entry), { recursive: true });
      execFileSync("systemd-tmpfiles", ["--create", "/etc/tmpfiles.d/claviger.conf"]);
      containerd = await containers();
      kubelet = startKubelet();
      await waitReady();
    },
  };
}
