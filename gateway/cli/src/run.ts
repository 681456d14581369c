// One run of the CLI: arguments in, exit status out. 0 done, 1 not done, 2 called wrongly, 3 a person is needed.
import packageJson from "../package.json" with { type: "json" };
import { describeError } from "@claviger/proto/runtime/log.ts";
import { addApprovalsCommands } from "./approvals-commands.ts";
import { addAuditCommands } from "./audit/commands.ts";
import { addCheckCommand } from "./check-command.ts";
import { addClusterCommands } from "./cluster/commands.ts";
import { CliError, type Command, commanderStatus, createRoot, Exit, isInWords, type Terminal } from "./commander.ts";
import { addCompletionCommand } from "./completion/command.ts";
import { addConfigCommands } from "./config/command.ts";
import { addConsoleCommand } from "./console/command.ts";
import { addContextCommands } from "./context-commands.ts";
import { addDoctorCommands } from "./doctor/command.ts";
import { addFleetCommands } from "./fleet-commands.ts";
import { addUpgradeCommand } from "./upgrade-command.ts";
import { addWatchCommand } from "./fleet-watch-command.ts";
import { fleetGroup } from "./fleet-group.ts";
import { addInitCommand } from "./init/command.ts";
import { addKeyCommands } from "./key/commands.ts";
import { addLoginCommands } from "./login-commands.ts";
import { addNodeCommands } from "./node-commands.ts";
import { addPkiCommands } from "./pki-commands.ts";
import { fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import { printableLines } from "./table.ts";
import { addVaultCommands } from "./vault/init-command.ts";

/** What went wrong, for whoever ran the command. What is not foreseen here is a fault of the command itself. */
function sentenceOf(error: unknown): string {
  if (isInWords(error)) return error.message;
  const { path } = error as NodeJS.ErrnoException;
  if (path !== undefined) return `${path} cannot be used (${fileProblem(error)})`;
  return `unexpected error, please report it: ${describeError(error)}`;
}

/** Every command, none of them run. */
export function createCli(terminal: Terminal): Command {
  const root = createRoot(terminal)
    .name("claviger")
    .description("Runs a fleet of Claviger gateways and the keys behind them.")
    .version(packageJson.version);
  addApprovalsCommands(root, terminal);
  addAuditCommands(root, terminal);
  addCheckCommand(root, terminal);
  addClusterCommands(root, terminal);
  addCompletionCommand(root, terminal);
  addConfigCommands(root, terminal);
  addConsoleCommand(root, terminal);
  addContextCommands(root, terminal);
  addDoctorCommands(root, terminal);
  addUpgradeCommand(root, terminal);
  addInitCommand(root, terminal);
  addKeyCommands(root, terminal);
  addLoginCommands(root, terminal);
  addNodeCommands(root, terminal);
  addFleetCommands(fleetGroup(root), terminal);
  addWatchCommand(fleetGroup(root), terminal);
  addPkiCommands(root, terminal);
  addVaultCommands(root, terminal);
  return root;
}

/** Runs one command line. */
export async function runCli(args: readonly string[], given: Terminal): Promise<number> {
  // Names in etcd, in Vault's messages and in files are chosen by others.
  const terminal: Terminal = {
    ...given,
    out: (line) => given.out(printableLines(line)),
    err: (line) => given.err(printableLines(line)),
  };
  try {
    await createCli(terminal).parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof Exit) return error.status;
    const own = commanderStatus(error);
    if (own !== undefined) return own;
    terminal.err(`claviger: ${sentenceOf(error)}`);
    return error instanceof CliError && error.kind === "waits" ? 3 : 1;
  }
}
