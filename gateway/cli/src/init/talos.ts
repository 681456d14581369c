// Talos: patches of the machine configuration. There is no shell and no unit; the shim is a static pod of machine.pods,
// and the EncryptionConfiguration a document of its own (Talos 1.14 and newer:
// https://docs.siderolabs.com/talos/v1.14/reference/configuration/kubernetes/kubeetcdencryptionconfig).
import { dirname } from "node:path";
import { yamlText } from "@claviger/gateway-core/src/registry/edit/yaml.ts";
import { isTree, parseYaml } from "@claviger/proto/runtime/config.ts";
import { encryptionFiles } from "./encryption.ts";
import type { OutFile, Plan } from "./plan.ts";
import { configDir, shimOutput, staticPod } from "./shim.ts";

const kind = "KubeEtcdEncryptionConfig";

/** Lists are merged by a patch: the document is deleted first, or what is there would stay in front. */
function phasePatch(text: string): string {
  const [about, next] = text.split("\n");
  const tree = parseYaml("encryption.yaml", text);
  const { apiVersion: _, kind: __, ...config } = isTree(tree) ? tree : {};
  const remove = { apiVersion: "v1alpha1", kind, $patch: "delete" };
  const add = { apiVersion: "v1alpha1", kind, config };
  return [about, next, yamlText(remove), "---", yamlText(add), ""].join("\n");
}

function machinePatch(plan: Plan): string {
  const dir = configDir(plan);
  const [yaml] = shimOutput(plan);
  const file = (path: string, content: string, permissions: number) => ({ path, content, permissions, op: "create" });
  const document = {
    machine: {
      files: [
        file(`${dir}/shim.yaml`, yaml?.text ?? "", 0o644),
        file(`${dir}/tls.crt`, "REPLACE_WITH_THE_CERTIFICATE\n", 0o644),
        file(`${dir}/tls.key`, "REPLACE_WITH_ITS_KEY\n", 0o600),
        file(`${dir}/gateway-ca.crt`, "REPLACE_WITH_THE_CA_OF_THE_GATEWAYS\n", 0o644),
      ],
      pods: [parseYaml("static-pod.yaml", staticPod(plan))],
    },
    cluster: {
      apiServer: {
        extraVolumes: [
          { name: "claviger-socket", hostPath: dirname(plan.socket), mountPath: dirname(plan.socket), readonly: false },
        ],
      },
    },
  };
  return `# Of node ${plan.node} of cluster ${plan.cluster} alone: its own certificate stands in it.\n${yamlText(document)}\n`;
}

/** The machine's patch, and one for each phase. */
export function talosFiles(plan: Plan): readonly OutFile[] {
  return [
    { name: "machine.yaml", text: machinePatch(plan), place: "talosctl patch machineconfig --patch @", isSecret: true },
    ...encryptionFiles(plan, "talosctl patch machineconfig --patch @").map((one) => ({
      ...one,
      text: phasePatch(one.text),
    })),
  ];
}
