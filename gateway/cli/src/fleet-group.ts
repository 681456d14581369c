// `claviger fleet`: commands about all of it.
import type { Command } from "./commander.ts";

/** The group, which several files add commands to. */
export function fleetGroup(root: Command): Command {
  const found = root.commands.find((command) => command.name() === "fleet");
  return found ?? root.command("fleet").description("the fleet as a whole");
}
