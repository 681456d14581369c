// What is packaged for npm: the CLI, and the conformance kit for any KMS plugin.
import type { Bundle } from "./bundles.ts";
import type { NpmPackage } from "./npm.ts";

/** @param bundleOf the bundles of both */
export function npmPackages(bundleOf: (name: "claviger" | "kms-conformance") => Bundle): readonly NpmPackage[] {
  return [
    {
      name: "claviger",
      description: "Runs a fleet of Claviger gateways and the keys behind them",
      readme: `# claviger

What operators of a fleet of Claviger gateways run. It needs Node.js 24 and no other package.

    npm install --global ./claviger-VERSION.tgz
    claviger --help
    source <(claviger completion bash)
`,
      bundle: bundleOf("claviger"),
    },
    {
      name: "kms-conformance",
      description: "Forty checks of what kube-apiserver demands of a KMS plugin, for any plugin",
      readme: `# kms-conformance

Asks a KMS plugin of Kubernetes, whoever made it, all that a kube-apiserver may ask. It needs Node.js 24 and no other package.

    npm install --global ./kms-conformance-VERSION.tgz
    kms-conformance --socket /run/kms-plugin/kms.sock

\`kms-conformance --help\` says what a target file adds: how the plugin is started, its key rotated, its backend taken away.
`,
      bundle: bundleOf("kms-conformance"),
    },
  ];
}
