// The error texts in the CLI's source, and which of them some run has printed.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { closing, tokensOf } from "../../../docs/generate/source.ts";

const root = join(import.meta.dirname, "..", "..", "..");
/** The CLI's own sources, what it edits a registry with, and what it changes keys by. */
const core = join(root, "gateway", "core", "src");
const folders = {
  "": join(root, "gateway", "cli", "src"),
  "registry/edit": join(core, "registry", "edit"),
  retirement: join(core, "retirement"),
  key: join(core, "key"),
};
const fileProblems = join(root, "proto", "runtime", "file-problem.ts");

/** What makes an error of its arguments: the classes, and the functions that stand for them in a file. */
const makers =
  /^(?:CliError|EditError|KeyChangeError|InvalidArgumentError|Finding|VaultRefusal|BboltError|BrokenFile|fail|blind|sentenceOf)$/;
/** Files all of whose sentences are errors. */
const errorFiles = [
  "backend-failure.ts",
  "file-problem.ts",
  "gateway-word.ts",
  "outside.ts",
  "usage/etcd.ts",
  "retirement/reasons.ts",
  "vault/control.ts",
];

export type ErrorText = {
  readonly file: string;
  readonly text: string;
  /** Matches what it becomes when it is printed. */
  readonly pattern: RegExp;
};

/** A sentence, and not a name or a path. */
const isSentence = (text: string): boolean => /[a-z]{2,} [a-z'-]{2,}/.test(text.replaceAll(/\$\{[^}]*\}/g, ""));

/** The literal parts of a template, and the expressions between them. */
function partsOf(template: string): { readonly parts: readonly string[]; readonly inner: readonly string[] } {
  const [parts, inner]: [string[], string[]] = [[], []];
  let at = 1;
  let start = 1;
  while (at < template.length - 1) {
    if (template[at] === "\\") at += 2;
    else if (template.startsWith("${", at)) {
      parts.push(template.slice(start, at));
      let depth = 1;
      const from = at + 2;
      for (at = from; depth > 0; at++) depth += template[at] === "{" ? 1 : template[at] === "}" ? -1 : 0;
      inner.push(template.slice(from, at - 1));
      start = at;
    } else at++;
  }
  parts.push(template.slice(start, -1));
  return { parts, inner };
}

function escaped(text: string): string {
  const plain = text.replaceAll("\\n", "\n").replaceAll(/\\(.)/g, "$1");
  // In a replacement `$1` is what was found.
  return plain
    .split("$1")
    .map((part) => RegExp.escape(part))
    .join("[^]*");
}

function textsOf(file: string, tokens: ReturnType<typeof tokensOf>): readonly ErrorText[] {
  return tokens.flatMap(({ kind, text }) => {
    if (kind === "string" && isSentence(text)) return [{ file, text, pattern: new RegExp(escaped(text.slice(1, -1))) }];
    if (kind !== "template") return [];
    const { parts, inner } = partsOf(text);
    const own = isSentence(text) ? [{ file, text, pattern: new RegExp(parts.map(escaped).join("[^]*")) }] : [];
    return [...own, ...inner.flatMap((one) => textsOf(file, tokensOf(one)))];
  });
}

function textsIn(file: string, path: string): readonly ErrorText[] {
  const tokens = tokensOf(readFileSync(path, "utf8"));
  if (errorFiles.includes(file)) return textsOf(file, tokens);
  return tokens.flatMap(({ kind, text }, at) => {
    const isCall = kind === "word" && makers.test(text) && tokens[at + 1]?.text === "(";
    return isCall ? textsOf(file, tokens.slice(at + 2, closing(tokens, at + 1))) : [];
  });
}

/** Every error text of the CLI's source. Of a file of another folder the name begins with that. */
export function errorTexts(): readonly ErrorText[] {
  const own = Object.entries(folders).flatMap(([above, folder]) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .flatMap((name) => textsIn(join(above, name), join(folder, name))),
  );
  return [...own, ...textsIn("file-problem.ts", fileProblems)];
}
