// A cluster on the machine: real etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kube-proxy beside its nodes.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { kubeconfig } from "../../lab/kubeconfig.ts";
import { type ApiServer, startApiServer, startEtcd } from "../../lab/kubernetes.ts";
import type { ProcessGroup } from "../../lab/process-group.ts";
import { findBinary } from "../../parts/find.ts";
import { address } from "./machine.ts";

export type Cluster = {
  readonly api: ApiServer;
  /** The file of an administrator's kubeconfig. */
  readonly kubeconfig: string;
};

export async function startCluster(processes: ProcessGroup, dir: string): Promise<Cluster> {
  const etcd = await startEtcd(processes, dir);
  const api = await startApiServer({
    processes,
    dir,
    name: "kube-apiserver",
    etcd,
    authorization: "RBAC",
    extraArgs: [
      "--bind-address=0.0.0.0",
      `--advertise-address=${address}`,
      "--kubelet-preferred-address-types=InternalIP",
    ],
  });
  await api.waitReady();
  const home = join(dir, "cluster");
  mkdirSync(home);
  const file = join(home, "kubeconfig");
  writeFileSync(file, kubeconfig(api), { mode: 0o600 });
  const start = (name: string, ...args: readonly string[]): void =>
    void processes.start(name, [findBinary(name as "kube-scheduler"), ...args]);
  start(
    "kube-controller-manager",
    `--kubeconfig=${file}`,
    `--root-ca-file=${api.caFile}`,
    `--cert-dir=${home}`,
    "--bind-address=127.0.0.1",
    "--leader-elect=false",
  );
  start(
    "kube-scheduler",
    `--kubeconfig=${file}`,
    `--cert-dir=${home}`,
    "--bind-address=127.0.0.1",
    "--leader-elect=false",
  );
  const proxy = {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    mode: "nftables",
    clientConnection: { kubeconfig: file },
    hostnameOverride: "cp-1",
    clusterCIDR: "10.244.0.0/16",
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
    metricsBindAddress: "127.0.0.1:10249",
    healthzBindAddress: "127.0.0.1:10256",
  };
  writeFileSync(join(home, "proxy.yaml"), stringify(proxy));
  start("kube-proxy", `--config=${join(home, "proxy.yaml")}`);
  return { api, kubeconfig: file };
}
