// `claviger config schema`: the JSON Schema of a configuration, for an editor. Made by docs/generate.ts.
import cli from "../../../../docs/reference/schema/cli.json" with { type: "json" };
import fleet from "../../../../docs/reference/schema/fleet.json" with { type: "json" };
import gateway from "../../../../docs/reference/schema/gateway.json" with { type: "json" };
import shim from "../../../../docs/reference/schema/shim.json" with { type: "json" };
import { Argument, type Command, type Terminal } from "../commander.ts";

const schemas: Readonly<Record<string, object>> = { gateway, shim, fleet, cli };

/** Adds the command. */
export function addConfigCommands(root: Command, terminal: Terminal): void {
  root
    .command("config")
    .description("configurations")
    .command("schema")
    .description("print the JSON Schema of gateway.yaml, shim.yaml, fleet.yaml or a file of contexts, for an editor")
    .addArgument(new Argument("<which>", "which configuration").choices(Object.keys(schemas)))
    .action((which: string) => terminal.out(JSON.stringify(schemas[which], undefined, 2)));
}
