// `claviger context`: which named fleets there are, what one says, and which one is meant when none is
// named.
import { readFile, realpath, stat } from "node:fs/promises";
import { writeFileAtomically } from "@claviger/proto/runtime/atomic-file.ts";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { CliError, type Command, type Terminal } from "./commander.ts";
import { type Context, contextOf, parseContexts, readContexts } from "./contexts.ts";
import { fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import { toYaml } from "@claviger/gateway-core/src/registry/edit/text.ts";
import { formatTable } from "@claviger/proto/runtime/table.ts";
import { defaultContexts } from "./target.ts";

type ContextOptions = { readonly config?: string };

function fileOf({ config }: ContextOptions, terminal: Terminal): string {
  const fromEnv = terminal.env["CLAVIGER_CONFIG"] ?? "";
  return config ?? (fromEnv === "" ? defaultContexts(terminal) : fromEnv);
}

function vaultText({ config, backends = {} }: Context): string {
  if (config !== undefined) return `as in ${config}`;
  return Object.entries(backends)
    .map(([name, backend]) => `${name}: ${backend.kind === "vault" ? backend.addresses.join(", ") : backend.file}`)
    .join("; ");
}

function registryText({ config, registry }: Context): string {
  if (registry === undefined) return `as in ${config ?? ""}`;
  switch (registry.kind) {
    case "file":
      return registry.file;
    case "directory":
      return registry.directory;
    case "vault":
      return `${registry.backend}: ${registry.mount}/${registry.path}`;
  }
}

function list(file: string, terminal: Terminal): void {
  const { contexts, current } = readContexts(file);
  terminal.out(
    formatTable(
      ["CURRENT", "NAME", "BACKENDS", "REGISTRY"],
      Object.entries(contexts).map(([name, one]) => [
        name === current ? "*" : "",
        name,
        vaultText(one),
        registryText(one),
      ]),
    ),
  );
}

/** What an edited text says; undefined where it is none any more. */
function currentOf(file: string, text: string): string | undefined {
  try {
    return parseContexts(file, text).current;
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}

/** Sets the one line; the rest of the text stays, comments included. */
async function use(file: string, name: string, terminal: Terminal): Promise<void> {
  contextOf(file, readContexts(file), name);
  const target = await realpath(file);
  const text = await readFile(target, "utf8");
  const line = `current: ${JSON.stringify(name)}`;
  const changed = /^current:.*$/m.test(text) ? text.replace(/^current:.*$/m, () => line) : `${line}\n${text}`;
  if (currentOf(file, changed) !== name)
    throw new CliError(`${file} is written in a way that this command cannot edit; set 'current: ${name}' by hand`);
  const { mode, uid, gid } = await stat(target);
  await writeFileAtomically(target, changed, mode & 0o777, true, { uid, gid }).catch((error: unknown) => {
    throw new CliError(`${file} cannot be written (${fileProblem(error)}); nothing was changed`);
  });
  terminal.out(`${name} is the current context of ${file}.`);
}

/** Adds the group. */
export function addContextCommands(root: Command, terminal: Terminal): void {
  const group = root.command("context").description("named fleets: addresses and paths of files, never a token");
  const withFile = (command: Command): Command =>
    command.option(
      "--config <file>",
      "the file of contexts (default: $CLAVIGER_CONFIG, or ~/.config/claviger/config.yaml)",
    );
  withFile(group.command("list"))
    .description("list them")
    .action((options: ContextOptions) => list(fileOf(options, terminal), terminal));
  withFile(group.command("show"))
    .argument("[name]", "default: the current one")
    .description("print one")
    .action((name: string | undefined, options: ContextOptions) => {
      const file = fileOf(options, terminal);
      const [found, context] = contextOf(file, readContexts(file), name);
      terminal.out(toYaml({ [found]: context }).trimEnd());
    });
  withFile(group.command("use"))
    .argument("<name>")
    .description("make one the current one")
    .action((name: string, options: ContextOptions) => use(fileOf(options, terminal), name, terminal));
}
