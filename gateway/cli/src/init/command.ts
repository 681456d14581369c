// `claviger init`: writes what a control-plane node needs, as its distribution wants it. Nothing of the machine is
// changed: the files say where they go, and docs/install in which order.
import { chmodSync, lstatSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import packageJson from "../../package.json" with { type: "json" };
import { isHttpsOrigin } from "@claviger/proto/runtime/config.ts";
import { CheckError } from "@claviger/proto/runtime/check.ts";
import { formatTable } from "@claviger/proto/runtime/table.ts";
import { limits } from "@claviger/proto/wire/protocol.ts";
import { clusterName, nodeName } from "@claviger/proto/wire/names.ts";
import { CliError, type Command, InvalidArgumentError, Option, several, type Terminal } from "../commander.ts";
import { readTextFile } from "../outside.ts";
import { apiServerOutput } from "./apiserver.ts";
import { existingProviders } from "./encryption.ts";
import { type Distro, distros, type Form, forms, type OutFile, type Plan } from "./plan.ts";
import { shimOutput } from "./shim.ts";

type Options = {
  readonly distro: Distro;
  readonly form: Form;
  readonly cluster: string;
  readonly node: string;
  readonly gateway: readonly string[];
  readonly socket: string;
  readonly enroll?: string;
  readonly image: string;
  readonly existing?: string;
  readonly out?: string;
  readonly force: boolean;
};

function origin(text: string): string {
  if (!isHttpsOrigin(text)) throw new InvalidArgumentError("Must be https://HOST:PORT.");
  return text;
}

function name(kind: { readonly is: (text: unknown) => boolean; readonly rule: string }) {
  return (text: string): string => {
    if (!kind.is(text)) throw new InvalidArgumentError(`Must be ${kind.rule}.`);
    return text;
  };
}

/** It stands in a URL, a unit, a mount and in YAML: of letters that are themselves in all of them. */
function socketPath(text: string): string {
  const names = text.split("/").slice(1);
  const isGood =
    text.startsWith("/") &&
    names.length > 1 &&
    names.every((one) => /^[\w.@+-]+$/.test(one) && !/^\.+$/.test(one)) &&
    text.length <= limits.socketPath;
  if (!isGood)
    throw new InvalidArgumentError(
      `Must be an absolute path in a directory of its own, of letters, digits and '_.@+-', ${limits.socketPath} bytes at most.`,
    );
  return text;
}

function imageName(text: string): string {
  if (!/^\w[\w.:/@-]*$/.test(text)) throw new InvalidArgumentError("Must be the name of an image: REGISTRY/NAME:TAG.");
  return text;
}

/** @throws CliError */
function existingOf(file: string | undefined): Pick<Plan, "existing" | "others"> {
  if (file === undefined) return { existing: [], others: [] };
  try {
    return existingProviders(file, readTextFile(file));
  } catch (error) {
    if (error instanceof CheckError) throw new CliError(`--existing ${error.message}`);
    throw error;
  }
}

/** @throws CliError where a file is there, unless it may be replaced: then nothing is written */
function write(dir: string, files: readonly OutFile[], force: boolean): void {
  const there = files
    .map((file) => join(dir, file.name))
    .filter((path) => lstatSync(path, { throwIfNoEntry: false }) !== undefined);
  if (there.length > 0 && !force)
    throw new CliError(`${there.join(", ")} would be overwritten; give --force, or another --out`);
  for (const { name: file, text, isSecret = false } of files) {
    const path = join(dir, file);
    mkdirSync(dirname(path), { recursive: true });
    const mode = isSecret ? 0o600 : 0o644;
    // Never through a link that somebody has put there.
    if (force) rmSync(path, { force: true });
    writeFileSync(path, text, { mode, flag: "wx" });
    // Whatever the umask is.
    chmodSync(path, mode);
  }
}

function run(options: Options, terminal: Terminal): void {
  const { distro, form, cluster, node, gateway, socket, enroll, image, existing, force } = options;
  if (distro === "talos" && form === "systemd")
    throw new CliError("Talos has no units of one's own: give --form static-pod");
  if (distro === "talos" && enroll !== undefined)
    throw new CliError(
      "Talos has no shell to enroll in: leave --enroll out, and put the node's certificate into machine.yaml",
    );
  const plan: Plan = { distro, form, cluster, node, gateways: gateway, socket, enroll, image, ...existingOf(existing) };
  const files = [...(distro === "talos" ? [] : shimOutput(plan)), ...apiServerOutput(plan)];
  const dir = options.out ?? `claviger-${cluster}-${node}`;
  write(dir, files, force);
  terminal.out(
    formatTable(
      ["FILE", "WHERE IT GOES"],
      files.map((file) => [join(dir, file.name), file.place]),
    ),
  );
  terminal.err(`docs/install/${distro}.md has the order, the way back, and how to remove it again`);
}

/** Adds the command. */
export function addInitCommand(root: Command, terminal: Terminal): void {
  root
    .command("init")
    .description("write shim.yaml, unit or static pod, and kube-apiserver's configuration for a control-plane node")
    .addOption(new Option("--distro <name>", "what runs the node").choices(distros).makeOptionMandatory())
    .addOption(new Option("--form <form>", "what runs the shim").choices(forms).makeOptionMandatory())
    .requiredOption("--cluster <name>", "the node's cluster, as the registry calls it", name(clusterName))
    .requiredOption("--node <name>", "the node, as its certificate calls it", name(nodeName))
    .requiredOption("--gateway <url>", "a gateway, https://HOST:PORT; several times", (text: string, earlier) =>
      several(origin(text), earlier as readonly string[] | undefined),
    )
    .option(
      "--socket <path>",
      "of the shim; its directory is mounted into kube-apiserver",
      socketPath,
      "/run/claviger/kms.sock",
    )
    .option("--enroll <url>", "the fleet service that the node gets its certificate from and renews it at", origin)
    .option(
      "--image <image>",
      "of the shim, for a static pod",
      imageName,
      `registry.invalid/claviger/shim:${packageJson.version}`,
    )
    .option("--existing <file>", "the EncryptionConfiguration in use: its providers go on reading until phase 3")
    .option("--out <dir>", "where the files are written (default: claviger-CLUSTER-NODE)")
    .option("--force", "replace files that are there", false)
    .action((options: Options) => run(options, terminal));
}
