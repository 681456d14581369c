// The shim's side: shim.yaml, and its unit or static pod. The unit and the pod are those of infra/shim.
import { dirname } from "node:path";
import { parseYaml } from "@claviger/proto/runtime/config.ts";
import { yamlText } from "@claviger/gateway-core/src/registry/edit/yaml.ts";
import type { OutFile, Plan } from "./plan.ts";
import { shimFiles } from "./shim-files.ts";

/** Where shim.yaml and certificates are. Talos writes files below /var alone. */
export function configDir({ distro }: Pick<Plan, "distro">): string {
  return distro === "talos" ? "/var/lib/claviger" : "/etc/claviger";
}

/** The user and group that the shim runs as: kube-apiserver's group must be able to connect. */
const nobody = 65_532;
/** kube-apiserver's on Talos, which runs it as no root. */
const talosGroup = 65_534;

function shimYaml(plan: Plan): string {
  const dir = configDir(plan);
  const enrolled = "/var/lib/claviger";
  const { enroll } = plan;
  const tls =
    enroll === undefined
      ? { cert: `${dir}/tls.crt`, key: `${dir}/tls.key`, ca: `${dir}/gateway-ca.crt` }
      : { cert: `${enrolled}/node.pem`, key: `${enrolled}/node.pem`, ca: `${enrolled}/ca.pem` };
  const settings = {
    socket: { path: plan.socket, mode: "0660", group: plan.distro === "talos" ? talosGroup : nobody },
    gateways: plan.gateways,
    tls,
    ...(enroll !== undefined && { renewal: { url: enroll } }),
    health: { address: "127.0.0.1", port: 9101 },
    outage: { healthyFor: "10m", degradedFor: "1h" },
  };
  return `# ${dir}/shim.yaml of node ${plan.node} of cluster ${plan.cluster}; docs/reference/settings.md has every setting.\n${yamlText(settings)}\n`;
}

/** A file of infra/shim, with the directory that the socket is in. */
function shipped(name: keyof typeof shimFiles, { socket }: Plan): string {
  return shimFiles[name].replaceAll("/run/claviger", dirname(socket));
}

function unit(plan: Plan): string {
  const text = shipped("claviger-shim.service", plan);
  // There the kubelet is part of the server.
  return plan.distro === "rke2" ? text.replace(/^Before=.*$/m, "Before=rke2-server.service") : text;
}

type Pod = {
  spec: {
    securityContext: Record<string, unknown>;
    containers: [{ image: string; args: string[]; securityContext: object }];
    volumes: { name: string; hostPath: { path: string; type: string } }[];
  };
};

/** As shipped, but for the image; on Talos also for what is different there. */
export function staticPod(plan: Plan): string {
  const text = shipped("static-pod.yaml", plan).replace(/^( *image: ).*$/m, `$1${plan.image}`);
  if (plan.distro !== "talos") return text;
  const pod = parseYaml("static-pod.yaml", text) as Pod;
  const dir = configDir(plan);
  const [container] = pod.spec.containers;
  // Nothing makes a directory for another user there: root without any capability, in kube-apiserver's group.
  Object.assign(pod.spec.securityContext, { runAsNonRoot: false, runAsUser: 0, runAsGroup: talosGroup });
  container.args = ["--config", `${dir}/shim.yaml`];
  for (const volume of pod.spec.volumes) {
    if (volume.name === "config") volume.hostPath.path = dir;
    if (volume.name === "socket") volume.hostPath.type = "DirectoryOrCreate";
  }
  const mounts = (container as unknown as { volumeMounts: { name: string; mountPath: string }[] }).volumeMounts;
  const kept = mounts.filter(({ name }) => name !== "enrolled");
  for (const mount of kept) if (mount.name === "config") mount.mountPath = dir;
  Object.assign(container, { volumeMounts: kept });
  pod.spec.volumes = pod.spec.volumes.filter(({ name }) => name !== "enrolled");
  return yamlText(pod);
}

const podDirectories = {
  kubeadm: "/etc/kubernetes/manifests",
  k3s: "/var/lib/rancher/k3s/agent/pod-manifests",
  rke2: "/var/lib/rancher/rke2/agent/pod-manifests",
  talos: "machine.pods",
  kind: "/etc/kubernetes/manifests",
  generic: "/etc/kubernetes/manifests",
} as const;

/** shim.yaml, and what runs the shim. */
export function shimOutput(plan: Plan): readonly OutFile[] {
  const yaml = { name: "shim.yaml", text: shimYaml(plan), place: `${configDir(plan)}/shim.yaml` };
  // In the machine configuration of Talos; see talos.ts.
  if (plan.distro === "talos") return [yaml];
  const tmpfiles = {
    name: "claviger.conf",
    text: shipped("claviger.tmpfiles.conf", plan),
    place: "/etc/tmpfiles.d/claviger.conf",
  };
  const runs =
    plan.form === "systemd"
      ? {
          name: "claviger-shim.service",
          text: unit(plan),
          place: "/etc/systemd/system/claviger-shim.service",
        }
      : {
          name: "claviger-shim.yaml",
          text: staticPod(plan),
          place: `${podDirectories[plan.distro]}/claviger-shim.yaml`,
        };
  return [yaml, tmpfiles, runs];
}
