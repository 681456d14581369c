// What the demo prints: numbered steps and, under each, one line for each thing that happened.
// Colour only on a terminal.
import { styleText } from "node:util";

export type Output = {
  /** Opens a step: what is done now. */
  step(title: string): void;
  /** A value that was observed, after its name. */
  fact(name: string, value: string): void;
  /** A sentence. */
  say(text: string): void;
  /** A command that a user could type, before what it prints. */
  command(line: string): void;
  heading(text: string): void;
};

const nameWidth = 15;
const lineWidth = 120;

/**
 * Breaks at spaces; a word that is longer than a line (a path, a key_id) stays whole, to be copied.
 */
function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

export function createOutput(out: NodeJS.WritableStream & { readonly isTTY?: boolean }): Output {
  let count = 0;
  const write = (line: string): void => void out.write(`${line}\n`);
  const style = (format: "bold" | "cyan" | "dim", text: string): string =>
    out.isTTY === true ? styleText(format, text, { stream: process.stdout }) : text;
  return {
    heading: (text) => write(style("bold", text)),
    step: (title) => {
      count += 1;
      write(`\n${style("cyan", String(count).padStart(2))}  ${style("bold", title)}`);
    },
    fact: (name, value) => {
      for (const [i, line] of wrap(value, lineWidth - nameWidth - 5).entries())
        write(`    ${style("dim", (i === 0 ? name : "").padEnd(nameWidth))} ${line}`);
    },
    say: (text) => {
      for (const line of wrap(text, lineWidth - 4)) write(`    ${line}`);
    },
    command: (line) => write(`    ${style("dim", "$")} ${line}`),
  };
}
