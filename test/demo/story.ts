// How the demo speaks: numbered steps, what happened under them, one thing a line. Colour only where a person looks on.
import { styleText } from "node:util";

export type Story = {
  /** Opens a step: what is done now. */
  step(title: string): void;
  /** Something seen, with its name before it. */
  fact(name: string, value: string): void;
  /** A sentence. */
  say(text: string): void;
  /** A command that a user could type, before what it prints. */
  command(line: string): void;
  heading(text: string): void;
};

const nameWidth = 15;

export const createStory = (out: NodeJS.WritableStream & { readonly isTTY?: boolean }): Story => {
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
    fact: (name, value) => write(`    ${style("dim", name.padEnd(nameWidth))} ${value}`),
    say: (text) => write(`    ${text}`),
    command: (line) => write(`    ${style("dim", "$")} ${line}`),
  };
};
