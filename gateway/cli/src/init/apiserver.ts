// kube-apiserver's side: its flags and mounts, as each distribution wants to be told of them.
import { dirname } from "node:path";
import { yamlText } from "@claviger/gateway-core/src/registry/edit/yaml.ts";
import { encryptionFiles } from "./encryption.ts";
import type { OutFile, Plan } from "./plan.ts";
import { talosFiles } from "./talos.ts";

const flag = "encryption-provider-config";

/** With it a changed file is read within a minute, and one that cannot be used changes nothing. */
const flagsOf = (file: string): readonly (readonly [name: string, value: string])[] => [
  [flag, file],
  [`${flag}-automatic-reload`, "true"],
];

function kubeadmConfig(plan: Plan, file: string): string {
  const mount = (name: string, path: string, readOnly: boolean) => ({
    name,
    hostPath: path,
    mountPath: path,
    readOnly,
    pathType: "Directory",
  });
  const document = {
    apiVersion: "kubeadm.k8s.io/v1beta4",
    kind: "ClusterConfiguration",
    apiServer: {
      extraArgs: flagsOf(file).map(([name, value]) => ({ name, value })),
      extraVolumes: [
        mount("claviger-encryption", dirname(file), true),
        mount("claviger-socket", dirname(plan.socket), false),
      ],
    },
  };
  return `# Merge this into the ClusterConfiguration of 'kubeadm init --config' and of the ConfigMap kubeadm-config.\n${yamlText(document)}\n`;
}

/** A JSON patch (RFC 6902) of the static pod that kubeadm writes. */
function kubeadmPatch({ socket }: Plan, file: string): string {
  const add = (path: string, value: unknown) => ({ op: "add", path, value });
  const volume = (name: string, path: string, readOnly: boolean) => [
    add("/spec/volumes/-", { name, hostPath: { path, type: "Directory" } }),
    add("/spec/containers/0/volumeMounts/-", { name, mountPath: path, readOnly }),
  ];
  const patch = [
    ...flagsOf(file).map(([name, value]) => add("/spec/containers/0/command/-", `--${name}=${value}`)),
    ...volume("claviger-encryption", dirname(file), true),
    ...volume("claviger-socket", dirname(socket), false),
  ];
  return `# For 'kubeadm … --patches DIR', instead of kubeadm-config.yaml.\n${yamlText(patch)}\n`;
}

function kubeadmFiles(plan: Plan): readonly OutFile[] {
  const file = "/etc/kubernetes/enc/encryption.yaml";
  return [
    ...encryptionFiles(plan, file),
    { name: "kubeadm-config.yaml", text: kubeadmConfig(plan, file), place: "kubeadm's ClusterConfiguration" },
    {
      name: "patches/kube-apiserver+json.yaml",
      text: kubeadmPatch(plan, file),
      place: "or the directory of --patches",
    },
  ];
}

function kindConfig({ socket }: Plan, file: string): string {
  const patches = "/etc/kubernetes/patches";
  const document = {
    apiVersion: "kind.x-k8s.io/v1alpha4",
    kind: "Cluster",
    nodes: [
      {
        role: "control-plane",
        extraMounts: [
          { hostPath: dirname(socket), containerPath: dirname(socket) },
          { hostPath: "enc", containerPath: dirname(file), readOnly: true },
          { hostPath: "patches", containerPath: patches, readOnly: true },
        ],
        kubeadmConfigPatches: [`kind: InitConfiguration\npatches:\n  directory: ${patches}\n`],
      },
    ],
  };
  return `# kind create cluster --config kind.yaml, in this directory: enc/encryption.yaml is the phase in force.\n${yamlText(document)}\n`;
}

function kindFiles(plan: Plan): readonly OutFile[] {
  const file = "/etc/kubernetes/enc/encryption.yaml";
  return [
    ...encryptionFiles(plan, "enc/encryption.yaml, here"),
    { name: "kind.yaml", text: kindConfig(plan, file), place: "kind create cluster --config" },
    { name: "patches/kube-apiserver+json.yaml", text: kubeadmPatch(plan, file), place: "mounted by kind.yaml" },
  ];
}

/** k3s and RKE2 add up keys that end in a plus over all files of config.yaml.d. */
function rancherFiles(plan: Plan, name: "k3s" | "rke2"): readonly OutFile[] {
  const dir = `/etc/rancher/${name}/claviger`;
  const file = `${dir}/encryption.yaml`;
  const config = {
    "kube-apiserver-arg+": flagsOf(file).map(([one, value]) => `${one}=${value}`),
    // k3s runs kube-apiserver on the machine itself.
    ...(name === "rke2" && {
      "kube-apiserver-extra-mount+": [`${dir}:${dir}:ro`, `${dirname(plan.socket)}:${dirname(plan.socket)}`],
    }),
  };
  return [
    ...encryptionFiles(plan, file),
    { name: "claviger.yaml", text: `${yamlText(config)}\n`, place: `/etc/rancher/${name}/config.yaml.d/claviger.yaml` },
  ];
}

function genericFiles(plan: Plan): readonly OutFile[] {
  const file = "/etc/kubernetes/enc/encryption.yaml";
  const flags = flagsOf(file).map(([name, value]) => `--${name}=${value}`);
  const text = [
    "# kube-apiserver needs these flags, and where it runs in a container these directories of the machine:",
    `#   ${dirname(file)} (read only)`,
    `#   ${dirname(plan.socket)} (the directory and not the socket, which each start of the shim makes anew)`,
    ...flags,
    "",
  ].join("\n");
  return [
    ...encryptionFiles(plan, file),
    { name: "kube-apiserver.flags", text, place: "kube-apiserver's command line" },
  ];
}

/** EncryptionConfigurations, and how kube-apiserver comes to them. */
export function apiServerOutput(plan: Plan): readonly OutFile[] {
  switch (plan.distro) {
    case "kubeadm":
      return kubeadmFiles(plan);
    case "kind":
      return kindFiles(plan);
    case "k3s":
    case "rke2":
      return rancherFiles(plan, plan.distro);
    case "talos":
      return talosFiles(plan);
    case "generic":
      return genericFiles(plan);
  }
}
