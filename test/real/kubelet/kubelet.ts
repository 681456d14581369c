// A real kubelet on a containerd of its own.
import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { stringify } from "yaml";
import type { LabProcess, ProcessGroup } from "../../lab/process-group.ts";
import { findBinary } from "../../parts/find.ts";
import type { Containerd } from "./containerd.ts";
import { address } from "./machine.ts";
import { cgroupDirs } from "./namespaces.ts";

/** Where a node is: the machine's directory, its name, and its number on this machine, from 1. */
export type NodePlace = { readonly dir: string; readonly name: string; readonly index: number };

/** A KubeletConfiguration that leaves everything of the machine alone which is not this node's. */
export function kubeletSettings({ dir, name, containerd }: NodePlace & { readonly containerd: Containerd }): object {
  const home = join(dir, name, "kubelet");
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    address,
    containerRuntimeEndpoint: `unix://${containerd.socket}`,
    cgroupDriver: "cgroupfs",
    failCgroupV1: false,
    cgroupRoot: `/${basename(dir)}/${name}`,
    enforceNodeAllocatable: [],
    failSwapOn: false,
    evictionHard: {
      "memory.available": "0%",
      "nodefs.available": "0%",
      "imagefs.available": "0%",
      "nodefs.inodesFree": "0%",
    },
    imageGCHighThresholdPercent: 100,
    fileCheckFrequency: "1s",
    nodeStatusUpdateFrequency: "2s",
    resolvConf: "/etc/resolv.conf",
    podLogsDir: join(home, "pod-logs"),
    volumePluginDir: join(home, "volume-plugins"),
  };
}

/** The cgroups that kubelet makes those of pods in. */
export function createKubeletCgroups({ dir, name }: NodePlace): void {
  for (const cgroup of cgroupDirs(dir)) mkdirSync(join(cgroup, name));
}

/** @param options.kubeconfig the file of an administrator's */
export function startKubelet(
  processes: ProcessGroup,
  options: NodePlace & { readonly containerd: Containerd; readonly kubeconfig: string },
): LabProcess {
  const { dir, name, index, kubeconfig } = options;
  const home = join(dir, name, "kubelet");
  // The first node is where kubeadm would have one.
  const staticPodPath = index === 1 ? "/etc/kubernetes/manifests" : join(home, "manifests");
  for (const path of [home, staticPodPath]) mkdirSync(path, { recursive: true });
  createKubeletCgroups(options);
  const settings = {
    ...kubeletSettings(options),
    port: 10_250 + index,
    healthzPort: 0,
    staticPodPath,
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: "AlwaysAllow" },
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
    `--kubeconfig=${kubeconfig}`,
  ]);
}
