// All of a test's machine: a cluster with its nodes and images, and outside of the cluster what Claviger needs.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createProcessGroup, type ProcessGroup, until } from "../../lab/process-group.ts";
import { findBinary } from "../../parts/find.ts";
import { type ChartName, chartDir, type Helm, openHelm, type Values } from "../infra/chart.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { releaseImages } from "./images.ts";
import { prepareMachine } from "./machine.ts";
import { startNode } from "./node.ts";
import { type Site, startSite } from "./site.ts";

export type World = {
  readonly dir: string;
  readonly processes: ProcessGroup;
  readonly cluster: Cluster;
  readonly site: Site;
  /** Archives of the release's images. */
  readonly images: readonly string[];
  /** @returns what it says @throws Error with what it complains of */
  kubectl(...args: readonly string[]): string;
  /** Installs, upgrades or tests a chart. @returns what Helm says @throws AssertionError where it fails, with what the pods say */
  helm(command: readonly string[], values?: Values): Promise<string>;
  stop(): Promise<void>;
};

/** @param nodes their names; the first one is the control plane's */
export async function startWorld(dir: string, nodes: readonly string[]): Promise<World> {
  prepareMachine(dir);
  const processes = createProcessGroup(dir);
  const [images, cluster, site] = await Promise.all([
    releaseImages(dir),
    startCluster(processes, dir),
    startSite(processes, dir),
  ]);
  const kubectl: World["kubectl"] = (...args) =>
    execFileSync(findBinary("kubectl"), ["--kubeconfig", cluster.kubeconfig, ...args], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  await Promise.all(
    nodes.map((name, i) => startNode(processes, images, { dir, name, index: i + 1, kubeconfig: cluster.kubeconfig })),
  );
  for (const node of nodes)
    await until(`node ${node} to be ready`, undefined, () => {
      const said = kubectl("get", "nodes", "--ignore-not-found", node, "--no-headers");
      return / Ready /.test(said) ? true : undefined;
    });
  kubectl("label", "node", nodes[0] ?? "", "node-role.kubernetes.io/control-plane=");
  const client: Helm = openHelm(readFileSync(cluster.kubeconfig, "utf8"));
  return {
    dir,
    processes,
    cluster,
    site,
    images,
    kubectl,
    async helm(command, values) {
      const { code, stdout, stderr } = await client.helm(command, values);
      if (code === 0) return stdout;
      const namespace = ["-n", command[command.indexOf("-n") + 1] ?? "default"];
      const pods = kubectl("get", "pods", ...namespace, "-o", "wide");
      const names = kubectl("get", "pods", ...namespace, "-o", "name").match(/\S+/g) ?? [];
      const logs = names.map((pod) => `${pod}\n${kubectl("logs", ...namespace, pod, "--all-containers", "--tail=12")}`);
      assert.fail(`helm ${command.join(" ")}\n${stdout}${stderr}\n${pods}${logs.join("\n")}`);
    },
    async stop() {
      client.close();
      await processes.stopAll();
      await cluster.api.close();
    },
  };
}

/** What comes before the values of `helm install`. */
export function install(chart: ChartName, namespace: string, release: string = chart): readonly string[] {
  return ["install", release, chartDir(chart), "-n", namespace];
}
