// What can stand on a command line, read from commander's own tree: the one thing that all shells' completions
// are made of.
import type { Command, Option } from "../commander.ts";

/** What follows an option, or stands as an argument. */
export type Value =
  | { readonly kind: "none" }
  | { readonly kind: "file" }
  | { readonly kind: "choices"; readonly choices: readonly string[] }
  | { readonly kind: "other" };

export type Flag = { readonly name: string; readonly description: string; readonly value: Value };

/** A command, or a group of them. */
export type Place = {
  /** The words up to it, without the program's: `key rotate`; empty for the program. */
  readonly path: string;
  readonly commands: readonly { readonly name: string; readonly description: string }[];
  readonly flags: readonly Flag[];
  readonly argument: Value;
};

/** A file or a directory, by the word that the help has for it. */
const ofFiles = /\b(?:file|dir)\b/;

function valueOf(name: string, choices: readonly string[] | undefined): Value {
  if (choices !== undefined) return { kind: "choices", choices };
  return ofFiles.test(name) ? { kind: "file" } : { kind: "other" };
}

function flagsOf(option: Option): readonly Flag[] {
  const value: Value =
    option.required || option.optional
      ? valueOf(/[<[](.*)[>\]]$/.exec(option.flags)?.[1] ?? "", option.argChoices)
      : { kind: "none" };
  return [option.long, option.short].flatMap((name) =>
    name === undefined || name === null ? [] : [{ name, description: option.description, value }],
  );
}

/** Every place of a command line, the program's own first. */
export function placesOf(command: Command, path = ""): readonly Place[] {
  const help = command.createHelp();
  const commands = help.visibleCommands(command);
  const [argument] = command.registeredArguments;
  const place: Place = {
    path,
    commands: commands.map((one) => ({ name: one.name(), description: help.subcommandDescription(one) })),
    flags: help.visibleOptions(command).flatMap(flagsOf),
    argument: argument === undefined ? { kind: "none" } : valueOf(argument.name(), argument.argChoices),
  };
  const below = commands.filter((one) => one.name() !== "help");
  return [place, ...below.flatMap((one) => placesOf(one, `${path} ${one.name()}`.trim()))];
}

/** A text as bash and zsh take it: nothing in it means anything. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
