// Every `claviger …` that a document names is a command that there is, with options that it has.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Command } from "@claviger/cli/src/commander.ts";
import { createCli } from "@claviger/cli/src/run.ts";

const root = join(import.meta.dirname, "..", "..", "..");
const folders = ["docs", "infra"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((name) => join(folder, name)),
);
const documents = [...readdirSync(root), ...folders].filter((name) => name.endsWith(".md"));

/** In a span of code, at the begin of a line of a block, and within quotes of what is printed. */
const places = [
  /`(?:npx )?claviger ([a-z][^`\n]*)`/g,
  /^\s*(?:npx )?claviger ([a-z][^\n|#]*)/gm,
  /'claviger ([a-z][^'\n]+)'/g,
];

function commandsOf(text: string): readonly string[] {
  const joined = text.replaceAll(/\\\n\s*/g, " ");
  return [...new Set(places.flatMap((place) => [...joined.matchAll(place)].map(([, words = ""]) => words.trim())))];
}

/** What of a command line there is not. `suspend, resume` and `node|fleet` name several, of which the first is looked up. */
function problemsOf(line: string, cli: Command): readonly string[] {
  const words = line.split(/\s+/).map((word) => word.replaceAll(/^[[(]+|[\]),;.:]+$/g, ""));
  let command = cli;
  let at = 0;
  for (const word of words) {
    const next = command.commands.find((one) => one.name() === word.split("|")[0]);
    if (next === undefined) break;
    command = next;
    at++;
  }
  const left = words.slice(at);
  const isGroup = command.commands.length > 0 && /^[a-z][a-z-]*$/.test(left[0] ?? "");
  const options = left.flatMap((word) => /^(--[a-z][a-z-]*|-[a-z])(?:=.*)?$/.exec(word)?.[1] ?? []);
  const unknown = options.filter(
    (name) => name !== "--help" && !command.options.some(({ long, short }) => long === name || short === name),
  );
  return [...(isGroup ? [`no command ${left[0]}`] : []), ...unknown.map((name) => `no option ${name}`)];
}

test("each claviger command of a document is one, with its options", () => {
  const cli = createCli({ out: () => {}, err: () => {}, env: {}, home: "/nowhere" });
  const lines = documents.flatMap((name) =>
    commandsOf(readFileSync(join(root, name), "utf8")).map((line) => ({ name, line })),
  );
  assert.ok(lines.length > 200, `${lines.length} commands`);
  assert.deepEqual(
    lines.flatMap(({ name, line }) => problemsOf(line, cli).map((problem) => `${name}: claviger ${line}: ${problem}`)),
    [],
  );
  assert.deepEqual(problemsOf("cluster lst --jsno", cli), ["no command lst", "no option --jsno"]);
});
