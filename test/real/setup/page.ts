// A page of instructions as a list of steps: every fenced block is one, and says by its info words what
// is done with it. What stands in a block and is none of these is an error: no block goes unread.
//
//   ```sh            typed into the operator's shell; must succeed
//   ```sh fails      likewise; must end with another status than 0
//   ```sh on NAME    runs in the foreground of machine NAME until it is stopped or started anew
//   ```text          what the block before it prints
//   ```yaml          values to choose from: nothing is done with them, but they must be YAML
//   <!-- check NAME -->   the test looks for itself
import { parse } from "yaml";

export type Output = { readonly line: number; readonly text: string };

export type Step =
  | { readonly kind: "run"; readonly fails: boolean; readonly script: string; readonly output: Output | undefined }
  | { readonly kind: "machine"; readonly name: string; readonly script: string; readonly output: Output | undefined }
  | { readonly kind: "check"; readonly name: string };

export type Section = {
  readonly heading: string;
  readonly steps: readonly (Step & { readonly line: number })[];
};

type Block = { readonly line: number; readonly info: readonly string[]; readonly text: string };

function stepOf({ line, info, text }: Block, output: Output | undefined): Step {
  const [language, ...words] = info;
  const [first = "", second] = words;
  if (language === "sh" && words.length === 0) return { kind: "run", fails: false, script: text, output };
  if (language === "sh" && words.length === 1 && first === "fails")
    return { kind: "run", fails: true, script: text, output };
  if (language === "sh" && words.length === 2 && first === "on" && second !== undefined)
    return { kind: "machine", name: second, script: text, output };
  throw new Error(`line ${line}: nobody would know what to do with a block that begins with \`\`\`${info.join(" ")}`);
}

/** Blocks and marks of a text, in their order, and the headings between them. */
function* itemsOf(
  markdown: string,
): Generator<Block | { readonly heading: string } | { readonly line: number; readonly check: string }> {
  const lines = markdown.split("\n");
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? "";
    const heading = /^#+ (.*)$/.exec(line)?.[1];
    const check = /^<!-- check (\S+) -->$/.exec(line)?.[1];
    if (heading !== undefined) yield { heading };
    else if (check !== undefined) yield { line: at + 1, check };
    else if (line.includes("```")) {
      if (!line.startsWith("```")) throw new Error(`line ${at + 1}: a block begins in the middle of a line`);
      const end = lines.indexOf("```", at + 1);
      if (end < 0) throw new Error(`line ${at + 1}: the block has no end`);
      yield { line: at + 1, info: line.slice(3).split(" "), text: `${lines.slice(at + 1, end).join("\n")}\n` };
      at = end;
    }
  }
}

/** Sections without a step are left out. @throws Error for what cannot be followed */
export function parsePage(markdown: string): readonly Section[] {
  const sections: { heading: string; steps: (Step & { readonly line: number })[] }[] = [];
  let block: Block | undefined;
  const add = (step: Step, line: number): void => {
    const section = sections.at(-1);
    if (section === undefined) throw new Error(`line ${line}: a step before the first heading`);
    section.steps.push({ ...step, line });
  };
  const flush = (output?: Output): void => {
    if (block !== undefined) add(stepOf(block, output), block.line);
    else if (output !== undefined) throw new Error(`line ${output.line}: no block before it prints this`);
    block = undefined;
  };
  for (const item of itemsOf(markdown))
    if ("info" in item && item.info.join(" ") === "text") flush({ line: item.line, text: item.text });
    else {
      flush();
      if ("info" in item && item.info.join(" ") === "yaml") parse(item.text);
      else if ("info" in item) block = item;
      else if ("heading" in item) sections.push({ heading: item.heading, steps: [] });
      else add({ kind: "check", name: item.check }, item.line);
    }
  flush();
  return sections.filter(({ steps }) => steps.length > 0);
}
