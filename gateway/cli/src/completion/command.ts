// `claviger completion`: prints what a shell needs to complete claviger's commands, options and their values.
// The text is made when it is asked for and stands alone: a TAB starts no program.
import { Argument, type Command, type Terminal } from "../commander.ts";
import { bashScript } from "./bash.ts";
import { fishScript } from "./fish.ts";
import { placesOf } from "./tree.ts";
import { zshScript } from "./zsh.ts";

const scripts = { bash: bashScript, zsh: zshScript, fish: fishScript } as const;

/** Adds `claviger completion`. */
export function addCompletionCommand(root: Command, terminal: Terminal): void {
  root
    .command("completion")
    .description("print the completion for a shell: source <(claviger completion bash)")
    .addArgument(new Argument("<shell>", "which shell").choices(Object.keys(scripts)))
    .action((shell: keyof typeof scripts) => terminal.out(scripts[shell](placesOf(root)).trimEnd()));
}
