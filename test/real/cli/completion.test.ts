// What shells complete: real shells read the printed completion, and are asked at each place of a command line.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { createCli, runCli } from "@claviger/cli/src/run.ts";
import { onPath } from "../../parts/find.ts";

const none = () => {};
const root = createCli({ out: none, err: none, env: {}, home: "/nowhere" });

type Node = {
  readonly line: readonly string[];
  readonly commands: readonly string[];
  readonly flags: readonly string[];
};

/** Every group and command, with what may stand after it, from commander and not from what is tested. */
function nodes(command = root, line: readonly string[] = []): readonly Node[] {
  const below = command.commands.map((one) => nodes(one, [...line, one.name()]));
  const names = command.commands.map((one) => one.name());
  const flags = command.options.flatMap(({ long, short }) => [long, short].filter((flag) => typeof flag === "string"));
  const commands = names.length === 0 ? [] : [...names, "help"];
  return [{ line, commands, flags: [...flags, "--help", "-h"] }, ...below.flat()];
}

type Shell = "bash" | "zsh" | "fish";

/**
 * zsh completes on a terminal alone: one of its own, in which what it would offer is written to a file. It asks
 * nobody whether a list is too long.
 */
const zshDriver = String.raw`
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PROMPT=; LISTMAX=100000; autoload -Uz compinit; compinit -u -D; source $1; OUT=$2"
zpty -w z 'compadd() { if [[ $@[1,(i)(-|--)] == *-[OAD]\ * ]]; then builtin compadd "$@"; return; fi; local -a hits; builtin compadd -A hits "$@"; print -rl -- $hits >> $OUT; builtin compadd "$@" }'
zpty -w z "ask() { zle complete-word; print -r -- '---' >> \$OUT; BUFFER=; print DO''NE }; zle -N ask; bindkey '^I' ask"
zpty -w z 'print REA""DY'
zpty -r z said '*READY*'
shift 2
for line in "$@"; do
  zpty -w -n z "$line"$'\t'
  zpty -r z said '*DONE*'
done
zpty -d z
`;

suite("Completion", () => {
  let dir: string;
  before(() => void (dir = mkdtempSync(join(tmpdir(), "claviger-completion-"))));
  after(() => rmSync(dir, { recursive: true, force: true }));

  const scriptOf = async (shell: Shell): Promise<string> => {
    let text = "";
    const terminal = { out: (line: string) => void (text += `${line}\n`), err: none, env: {}, home: dir };
    assert.equal(await runCli(["completion", shell], terminal), 0);
    const file = join(dir, `script.${shell}`);
    writeFileSync(file, text);
    return file;
  };
  const run = (program: string, args: readonly string[], input?: string): string => {
    const env = { PATH: process.env["PATH"], HOME: dir, TERM: "dumb" };
    const { status, stdout, stderr } = spawnSync(program, args, { cwd: dir, encoding: "utf8", env, input });
    assert.equal(status, 0, stderr);
    assert.equal(stderr, "");
    return stdout;
  };
  const split = (out: string): readonly (readonly string[])[] =>
    out.split("---\n").map((part) => [...new Set(part.split("\n").filter((line) => line !== ""))].toSorted());

  /** What a shell offers at the end of each line. */
  const offers = async (shell: Shell, lines: readonly string[]): Promise<readonly (readonly string[])[]> => {
    const file = await scriptOf(shell);
    switch (shell) {
      case "bash": {
        const ask = lines.map((line) => {
          const words = line.split(" ");
          return `COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}; _claviger; printf '%s\\n' "\${COMPREPLY[@]}"; echo ---`;
        });
        return split(run("bash", ["--norc", "--noprofile"], `source ${file}\n${ask.join("\n")}\n`)).slice(0, -1);
      }
      case "fish": {
        const ask = lines.map((line) => `complete -C '${line}' | string replace -r '\\t.*' ''; echo ---`);
        return split(run("fish", ["--no-config", "-c", `source ${file}\n${ask.join("\n")}`])).slice(0, -1);
      }
      case "zsh": {
        const out = join(dir, "zsh.out");
        writeFileSync(out, "");
        const driver = join(dir, "driver.zsh");
        writeFileSync(driver, zshDriver);
        run("zsh", ["-f", driver, file, out, ...lines]);
        return split(readFileSync(out, "utf8").replaceAll("\\", "")).slice(0, -1);
      }
    }
  };

  for (const shell of ["bash", "zsh", "fish"] as const)
    suite(shell, () => {
      before(() => {
        assert.notEqual(onPath(shell), undefined, `${shell} is missing: apt-get install ${shell}`);
      });

      test("offers every command and option at every place, and nothing else", async () => {
        const all = nodes();
        assert.ok(all.length > 30);
        const groups = all.filter(({ commands }) => commands.length > 0);
        const lines = groups.map(({ line }) => ["claviger", ...line, ""].join(" "));
        assert.deepEqual(
          await offers(shell, lines),
          groups.map(({ commands }) => commands.toSorted()),
        );
        const flags = await offers(
          shell,
          all.map(({ line }) => ["claviger", ...line, "-"].join(" ")),
        );
        for (const [i, { line, flags: wanted }] of all.entries())
          assert.deepEqual(flags[i], wanted.toSorted(), line.join(" "));
      });

      test("completes what an option or an argument takes", async () => {
        writeFileSync(join(dir, "gateway one.yaml"), "");
        const [config, kinds, shells, part, text, value] = await offers(shell, [
          "claviger cluster list --config gatew",
          "claviger cluster add --rotation ",
          "claviger completion ",
          "claviger key ro",
          "claviger node revoke --reason ",
          "claviger cluster list --registry key --lab",
        ]);
        assert.deepEqual(config, ["gateway one.yaml"]);
        assert.deepEqual(kinds, ["auto", "manual"]);
        assert.deepEqual(shells, ["bash", "fish", "zsh"]);
        assert.deepEqual(part, ["rotate"]);
        assert.deepEqual(text, [], "a sentence of the operator's own");
        assert.deepEqual(value, ["--lab"], "the value of an option is no command");
      });
    });

  test("bash: an option and its value may be one word, which bash itself parts", async () => {
    writeFileSync(join(dir, "gateway one.yaml"), "");
    assert.deepEqual(await offers("bash", ["claviger cluster list --config = gatew", "claviger completion = ="]), [
      ["gateway one.yaml"],
      ["bash", "fish", "zsh"],
    ]);
  });

  test("names the shells that there are", async () => {
    const said: string[] = [];
    const terminal = { out: none, err: (line: string) => void said.push(line), env: {}, home: dir };
    assert.equal(await runCli(["completion", "tcsh"], terminal), 2);
    assert.match(said.join("\n"), /Allowed choices are bash, zsh, fish/);
  });
});
