// One run of the CLI: arguments in, exit status out. 0 done, 1 not done, 2 called wrongly; `audit verify` has a
// 3 of its own.
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import packageJson from "../package.json" with { type: "json" };
import { describeError } from "@claviger/proto/runtime/log.ts";
import { addAuditCommands } from "./audit/commands.ts";
import { addCheckCommand } from "./check-command.ts";
import { addClusterCommands } from "./cluster-commands.ts";
import { CliError, commanderStatus, createRoot, Exit, type Terminal } from "./commander.ts";
import { addKeyCommands } from "./key-commands.ts";
import { addPkiCommands } from "./pki-commands.ts";
import { printableLines } from "./table.ts";
import { VaultRefusal } from "./vault/control.ts";
import { addVaultCommands } from "./vault/init-command.ts";

/** Runs one command line. */
export async function runCli(args: readonly string[], given: Terminal): Promise<number> {
  // Names in etcd, in Vault's messages and in files are chosen by others.
  const terminal: Terminal = {
    ...given,
    out: (line) => given.out(printableLines(line)),
    err: (line) => given.err(printableLines(line)),
  };
  const root = createRoot(terminal)
    .name("claviger")
    .description("Runs a fleet of Claviger gateways and the keys behind them.")
    .version(packageJson.version);
  addAuditCommands(root, terminal);
  addCheckCommand(root, terminal);
  addClusterCommands(root, terminal);
  addKeyCommands(root, terminal);
  addPkiCommands(root, terminal);
  addVaultCommands(root, terminal);
  try {
    await root.parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof Exit) return error.status;
    const own = commanderStatus(error);
    if (own !== undefined) return own;
    if (error instanceof CliError || error instanceof ConfigError || error instanceof VaultRefusal)
      terminal.err(`claviger: ${error.message}`);
    else if (
      error instanceof KmsError &&
      (error.reason === "backend_denied" || error.reason === "backend_login_refused")
    )
      // The table's sentence is about the gateway's token; here it is the operator's.
      terminal.err("claviger: Vault refuses your token: it has expired, is of another Vault, or may not do this");
    else if (error instanceof KmsError) terminal.err(`${error.message} (${error.reason})`);
    else terminal.err(`claviger: unexpected error, please report it: ${describeError(error)}`);
    return 1;
  }
}
