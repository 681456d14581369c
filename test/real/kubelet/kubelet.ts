// A real kubelet on a containerd of its own.
import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { stringify } from "yaml";
import { type LabProcess, type ProcessGroup } from "../../lab/process-group.ts";
import { findBinary } from "../../parts/find.ts";
import type { Containerd } from "./containerd.ts";
import { address } from "./machine.ts";
import { cgroupDirs } from "./namespaces.ts";

export type KubeletOptions = {
  readonly dir: string;
  readonly name: string;
  readonly index: number;
  readonly containerd: Containerd;
  /** The file of its kubeconfig; none: it runs static pods alone. */
  readonly kubeconfig?: string;
  readonly labels?: Readonly<Record<string, string>>;
};

export function startKubelet(processes: ProcessGroup, options: KubeletOptions): LabProcess {
  const { dir, name, index, containerd, kubeconfig, labels = {} } = options;
  const home = join(dir, name, "kubelet");
  const manifests = index === 1 ? "/etc/kubernetes/manifests" : join(home, "manifests");
  for (const path of [home, manifests, ...cgroupDirs(dir).map((cgroup) => join(cgroup, name))])
    mkdirSync(path, { recursive: true });
  const settings = {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    address,
    port: 10_250 + index,
    healthzPort: 0,
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: "AlwaysAllow" },
    containerRuntimeEndpoint: `unix://${containerd.socket}`,
    cgroupDriver: "cgroupfs",
    failCgroupV1: false,
    cgroupRoot: `/${basename(dir)}/${name}`,
    enforceNodeAllocatable: [],
    failSwapOn: false,
    // The machine's disk is not this node's to look after.
    evictionHard: {
      "memory.available": "0%",
      "nodefs.available": "0%",
      "imagefs.available": "0%",
      "nodefs.inodesFree": "0%",
    },
    imageGCHighThresholdPercent: 100,
    staticPodPath: manifests,
    fileCheckFrequency: "1s",
    nodeStatusUpdateFrequency: "2s",
    resolvConf: "/etc/resolv.conf",
    podLogsDir: join(home, "pod-logs"),
    volumePluginDir: join(home, "volume-plugins"),
  };
  const config = join(home, "config.yaml");
  writeFileSync(config, stringify(settings));
  return processes.start(`${name}-kubelet`, [
    findBinary("kubelet"),
    `--config=${config}`,
    `--root-dir=${home}`,
    `--cert-dir=${join(home, "pki")}`,
    `--hostname-override=${name}`,
    `--node-ip=${address}`,
    ...(kubeconfig === undefined ? [] : [`--kubeconfig=${kubeconfig}`]),
    `--node-labels=${Object.entries(labels)
      .map(([label, value]) => `${label}=${value}`)
      .join(",")}`,
  ]);
}
