// A real containerd of a node, with a network for its pods.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type LabProcess, type ProcessGroup, until } from "../../lab/process-group.ts";

export type Containerd = {
  readonly socket: string;
  readonly proc: LabProcess;
  /** Runs ctr, as an administrator of the node would. @returns what it says */
  ctr(...args: readonly string[]): string;
};

/** @param index of the node on this machine: its pods have addresses in 10.244.INDEX.0/24 */
export async function startContainerd(
  processes: ProcessGroup,
  { dir, name, index, pause }: { dir: string; name: string; index: number; pause: string },
): Promise<Containerd> {
  const home = join(dir, name, "containerd");
  const cni = join(home, "cni");
  mkdirSync(cni, { recursive: true });
  const network = {
    cniVersion: "0.4.0",
    name: "pods",
    plugins: [
      {
        type: "bridge",
        bridge: `pods${index}`,
        isGateway: true,
        ipMasq: false,
        hairpinMode: true,
        ipam: {
          type: "host-local",
          dataDir: join(home, "addresses"),
          ranges: [[{ subnet: `10.244.${index}.0/24` }]],
          routes: [{ dst: "0.0.0.0/0" }],
        },
      },
    ],
  };
  writeFileSync(join(cni, "pods.conflist"), JSON.stringify(network));
  const socket = join("/run", name, "containerd.sock");
  const config = `
version = 2
root = "${join(home, "root")}"
state = "${join("/run", name, "state")}"
oom_score = 0
[grpc]
  address = "${socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${cni}"
`;
  writeFileSync(join(home, "config.toml"), config);
  const proc = processes.start(`${name}-containerd`, ["containerd", "--config", join(home, "config.toml")]);
  const ctr: Containerd["ctr"] = (...args) =>
    execFileSync("ctr", ["--address", socket, "--namespace", "k8s.io", ...args], { encoding: "utf8", stdio: "pipe" });
  await until("containerd to answer", proc, () => {
    try {
      return ctr("version");
    } catch {
      return undefined;
    }
  });
  return { socket, proc, ctr };
}
