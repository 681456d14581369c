// The manual of `claviger` and its completion, from its commands: claviger(1), and a page for each
// group of commands.
import { bashScript } from "../../gateway/cli/src/completion/bash.ts";
import { fishScript } from "../../gateway/cli/src/completion/fish.ts";
import { placesOf } from "../../gateway/cli/src/completion/tree.ts";
import { zshScript } from "../../gateway/cli/src/completion/zsh.ts";
import { createCli } from "../../gateway/cli/src/run.ts";
import { bold, escaped, manualPage, paragraph, section, term } from "./roff.ts";
import type { Source } from "./source.ts";

type Command = ReturnType<typeof createCli>;

function cli(): Command {
  const nothing = (): void => {};
  return createCli({ out: nothing, err: nothing, env: {}, home: "/root" });
}

function visible(command: Command): readonly Command[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .filter((one) => one.name() !== "help");
}

/** `claviger key rotate [options] <cluster>` */
function usageOf(command: Command, path: string): string {
  return `${bold(path)} ${escaped(command.usage())}`;
}

function optionsOf(command: Command): readonly string[] {
  const help = command.createHelp();
  return [
    ...help.visibleArguments(command).map((one) => term(help.argumentTerm(one), help.argumentDescription(one))),
    ...help.visibleOptions(command).map((one) => term(help.optionTerm(one), help.optionDescription(one))),
  ];
}

/** Each command at or below one, the words that lead to it before it. */
function below(command: Command, path: string): readonly (readonly [Command, string])[] {
  const commands = visible(command);
  if (commands.length === 0) return [[command, path]];
  return commands.flatMap((one) => below(one, `${path} ${one.name()}`));
}

const exitStatus = section(
  "exit status",
  term("0", "Done."),
  term("1", "Not done; one line says why."),
  term("2", "The command line means nothing."),
  term("3", "The change waits for a second administrator: see claviger-approvals(1)."),
);

/** Manual pages by file name. */
export function cliManual({ version, epoch }: Source): Readonly<Record<string, string>> {
  const root = cli();
  const common = { chapter: 1, version, epoch } as const;
  const groups = visible(root);
  const seeAlso = groups.map((one) => `${bold(`claviger-${one.name()}`)}(1)`).join(",\n");
  const main = manualPage(
    { ...common, name: "claviger", purpose: "runs a fleet of Claviger gateways and their keys" },
    [
      section("synopsis", usageOf(root, "claviger")),
      section("description", paragraph(root.description())),
      section("commands", ...groups.map((one) => term(`claviger ${one.name()}`, one.description()))),
      section("options", ...optionsOf(root)),
      section(
        "files",
        term("~/.config/claviger/config.yaml", "Contexts: addresses and paths of files, never a token."),
      ),
      exitStatus,
      section("see also", `${seeAlso},\n${bold("claviger-gateway")}(8),\n${bold("claviger-fleet")}(8)`),
    ],
  );
  const pages = groups.map((group) => {
    const name = `claviger-${group.name()}`;
    const commands = below(group, `claviger ${group.name()}`);
    const page = manualPage({ ...common, name, purpose: group.description() }, [
      section("synopsis", commands.map(([one, path]) => usageOf(one, path)).join("\n.br\n")),
      section(
        "description",
        ...commands.flatMap(([one, path]) => [
          `.SS ${escaped(path)}`,
          ...(one.description() === "" ? [] : [paragraph(one.description())]),
          ...optionsOf(one),
        ]),
      ),
      exitStatus,
      section("see also", `${bold("claviger")}(1)`),
    ]);
    return [`${name}.1`, page] as const;
  });
  return { "claviger.1": main, ...Object.fromEntries(pages) };
}

/** Where each shell looks for what a package brings. */
export function completions(): Readonly<Record<string, string>> {
  const places = placesOf(cli());
  return {
    "usr/share/bash-completion/completions/claviger": bashScript(places),
    "usr/share/zsh/vendor-completions/_claviger": zshScript(places),
    "usr/share/fish/vendor_completions.d/claviger.fish": fishScript(places),
  };
}
