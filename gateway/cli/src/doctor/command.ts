// `claviger doctor`: options and output. What is looked at stands in catalog.ts.
import type { CheckRow } from "@claviger/proto/runtime/check.ts";
import { type Command, Exit, type Terminal } from "../commander.ts";
import { outputOption, type OutputOptions, printOne } from "../output.ts";
import type { Part } from "./catalog.ts";
import { doctorRow, formatDoctor, isFine, summaryOf } from "./row.ts";

type DoctorOptions = OutputOptions & { readonly fixHints: boolean };

type NodeCommandOptions = DoctorOptions & {
  readonly config: string;
  readonly manifest: string;
  readonly encryptionConfig?: string;
  readonly before?: string;
};

function doctorOptions(command: Command): Command {
  return outputOption(command).option("--fix-hints", "say what to do about what is wrong", false);
}

/** Prints what was found. @throws Exit with status 1 where something failed */
function print(part: Part, found: readonly CheckRow[], options: DoctorOptions, terminal: Terminal): void {
  const rows = found.map((row) => doctorRow(part, row));
  const shown = options.fixHints ? rows : rows.map((row) => ({ ...row, hint: undefined }));
  printOne(terminal, options, {
    value: { part, checks: shown, summary: summaryOf(rows) },
    text: () => formatDoctor(rows, options.fixHints),
  });
  if (!isFine(rows)) throw new Exit(1);
}

const defaultManifest = "/etc/kubernetes/manifests/kube-apiserver.yaml";

function addNode(group: Command, terminal: Terminal): void {
  doctorOptions(group.command("node"))
    .description("a control-plane node: clock, names, certificates, socket, kube-apiserver's side, gateways")
    .option("--config <file>", "the shim's configuration", "/etc/claviger/shim.yaml")
    .option("--manifest <file>", `kube-apiserver's static pod (default: ${defaultManifest})`)
    .option("--encryption-config <file>", "the EncryptionConfiguration (default: the one that the manifest names)")
    .option(
      "--before <file>",
      "the EncryptionConfiguration in use before an edit: shows what could not be read any more",
    )
    .action(async (options: NodeCommandOptions) => {
      const { config, manifest, encryptionConfig, before } = options;
      const { env, machine } = terminal;
      if (machine === undefined) throw new TypeError("doctor without a process");
      const { examineNode } = await import("./node/node.ts");
      const rows = await examineNode({
        config,
        manifest: manifest ?? defaultManifest,
        isManifestNamed: manifest !== undefined,
        encryptionConfig,
        before,
        env,
        machine,
      });
      print("node", rows, options, terminal);
    });
}

/** Adds the commands. */
export function addDoctorCommands(root: Command, terminal: Terminal): void {
  const group = root
    .command("doctor")
    .description(
      "what is wrong, and what to do: changes nothing; 0 where nothing failed, 1 where something did, 2 for wrong options",
    );
  addNode(group, terminal);
}
