// `claviger audit`: what the gateways' records say, and whether they can be believed.
import type { Command, Terminal } from "../commander.ts";
import { addReadCommands } from "./read-commands.ts";
import { addVerifyCommand } from "./verify-command.ts";

/** Adds the group. */
export function addAuditCommands(root: Command, terminal: Terminal): void {
  const group = root.command("audit").description("read and verify the audit records of gateways");
  addVerifyCommand(group, terminal);
  addReadCommands(group, terminal);
}
