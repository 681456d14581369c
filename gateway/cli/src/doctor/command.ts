// `claviger doctor`: options and output. What is looked at stands in catalog.ts.
import packageJson from "../../package.json" with { type: "json" };
import type { CheckRow } from "@claviger/proto/runtime/check.ts";
import { type Command, Exit, type Machine, type Terminal } from "../commander.ts";
import { outputOption, type OutputOptions, printOne } from "../output.ts";
import type { Part } from "./catalog.ts";
import type { OperatorOptions } from "./operator/operator.ts";
import { type DoctorRow, doctorRow, formatDoctor, isFine, summaryOf } from "./row.ts";
import type { Settings } from "./bundle.ts";

type DoctorOptions = OutputOptions & { readonly fixHints: boolean; readonly bundle?: string };

type NodeCommandOptions = DoctorOptions & {
  readonly config: string;
  readonly manifest: string;
  readonly encryptionConfig?: string;
  readonly before?: string;
};

function doctorOptions(command: Command): Command {
  return outputOption(command)
    .option("--fix-hints", "say what to do about what is wrong", false)
    .option(
      "--bundle <file>",
      "write a .tar.gz for support as well: findings, versions, settings and metrics, no secrets",
    );
}

/**
 * Prints what was found, and writes the bundle.
 * @param settings the files that this part is configured by
 * @throws Exit with status 1 where something failed
 */
async function report(
  part: Part,
  { found, settings }: { readonly found: readonly CheckRow[]; readonly settings: readonly Settings[] },
  options: DoctorOptions,
  terminal: Terminal,
): Promise<void> {
  const rows = found.map((row) => doctorRow(part, row));
  const valueOf = (checks: readonly DoctorRow[]) => ({ part, checks, summary: summaryOf(checks) });
  const shown = options.fixHints ? rows : rows.map((row) => ({ ...row, hint: undefined }));
  printOne(terminal, options, { value: valueOf(shown), text: () => formatDoctor(rows, options.fixHints) });
  if (options.bundle !== undefined) {
    const { writeBundle } = await import("./bundle.ts");
    await writeBundle(options.bundle, { report: valueOf(rows), version: packageJson.version, settings });
    terminal.err(`${options.bundle} holds no secrets; look through it before you pass it on`);
  }
  if (!isFine(rows)) throw new Exit(1);
}

/** Where a shim.yaml does not say it. */
const shimHealthPort = 9101;
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
      const { env } = terminal;
      const { examineNode } = await import("./node/node.ts");
      const rows = await examineNode({
        config,
        manifest: manifest ?? defaultManifest,
        isManifestNamed: manifest !== undefined,
        encryptionConfig,
        before,
        env,
        machine: machineOf(terminal),
      });
      const settings = [
        { name: "shim.json", file: config, port: shimHealthPort },
        ...(encryptionConfig === undefined ? [] : [{ name: "encryption.json", file: encryptionConfig }]),
      ];
      await report("node", { found: rows, settings }, options, terminal);
    });
}

function machineOf({ machine }: Terminal): Machine {
  if (machine === undefined) throw new TypeError("doctor without a process");
  return machine;
}

function addGateway(group: Command, terminal: Terminal): void {
  doctorOptions(group.command("gateway"))
    .description(
      "a gateway's machine: clock, names, certificates, Vault with its token's rights, Redis, registry, keys, audit",
    )
    .option("--config <file>", "the gateway's configuration", "/etc/claviger/gateway.yaml")
    .action(async (options: DoctorOptions & { readonly config: string }) => {
      const { examineGateway } = await import("./gateway/gateway.ts");
      const found = await examineGateway(options.config, machineOf(terminal));
      const settings = [{ name: "gateway.json", file: options.config }];
      await report("gateway", { found, settings }, options, terminal);
    });
}

function addFleet(group: Command, terminal: Terminal): void {
  doctorOptions(group.command("fleet"))
    .description("a fleet service's machine: as gateway, and PKI, tokens, issuers of operators, console")
    .option("--config <file>", "the fleet service's configuration", "/etc/claviger/fleet.yaml")
    .action(async (options: DoctorOptions & { readonly config: string }) => {
      const { examineFleet } = await import("./fleet/fleet.ts");
      const found = await examineFleet(options.config, machineOf(terminal));
      const settings = [{ name: "fleet.json", file: options.config }];
      await report("fleet", { found, settings }, options, terminal);
    });
}

function addOperator(group: Command, terminal: Terminal): void {
  doctorOptions(group.command("operator"))
    .description("an operator's machine: context, certificate or login, fleet service, Vaults, etcds, gateways")
    .option("--config <file>", "a file of contexts (default: $CLAVIGER_CONFIG, or ~/.config/claviger/config.yaml)")
    .option("--context <name>", "a context (default: $CLAVIGER_CONTEXT, or the current one)")
    .action(async (options: DoctorOptions & OperatorOptions) => {
      const { contextsFile, examineOperator } = await import("./operator/operator.ts");
      const found = await examineOperator(options, terminal);
      const settings = [{ name: "contexts.json", file: contextsFile(options, terminal) }];
      await report("operator", { found, settings }, options, terminal);
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
  addGateway(group, terminal);
  addFleet(group, terminal);
  addOperator(group, terminal);
}
