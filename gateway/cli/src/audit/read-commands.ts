// `claviger audit search` and `tail`: reads records, and verifies nothing.
import { CliError, type Command, numberBetween, type Terminal } from "../commander.ts";
import { BrokenFile, endOfLines, inOrder, readLines } from "./files.ts";
import {
  filterOptions,
  type FilterOptions,
  type Found,
  isAskedFor,
  parseFound,
  tableHead,
  tableRow,
} from "./filter.ts";
import { follow } from "./follow.ts";

type TailOptions = FilterOptions & { readonly lines: number; readonly follow: boolean };

/** Records that are printed once, so many at least. */
const maxKnown = 65_536;

/** Prints records as they are found; the table's head before the first. */
function createPrinter({ output }: FilterOptions, terminal: Terminal): (found: Found) => void {
  let hasHead = output === "json";
  return (found) => {
    if (!hasHead) terminal.out(tableHead);
    hasHead = true;
    terminal.out(output === "json" ? found.text : tableRow(found));
  };
}

async function* foundIn(file: string, options: FilterOptions, terminal: Terminal, end?: number): AsyncGenerator<Found> {
  let others = 0;
  try {
    for await (const lines of readLines(file, end))
      for (const bytes of lines) {
        const found = parseFound(bytes);
        if (found === undefined) others += bytes.length === 0 ? 0 : 1;
        else if (isAskedFor(found, options)) yield found;
      }
  } catch (error) {
    if (!(error instanceof BrokenFile)) throw error;
    terminal.err(`${file} ${error.message}`);
  }
  if (others > 0) terminal.err(`${file}: ${others} line${others === 1 ? " is" : "s are"} no record`);
}

async function tail(file: string, options: TailOptions, terminal: Terminal): Promise<void> {
  const print = createPrinter(options, terminal);
  const end = await endOfLines(file);
  const newest: Found[] = [];
  if (end > 0)
    for await (const found of foundIn(file, options, terminal, end)) {
      newest.push(found);
      if (newest.length > options.lines) newest.shift();
    }
  for (const found of newest) print(found);
  if (!options.follow) return;
  for await (const bytes of follow(file, end)) {
    const found = parseFound(bytes);
    if (found !== undefined && isAskedFor(found, options)) print(found);
  }
}

/** Adds `audit search` and `audit tail`. */
export function addReadCommands(group: Command, terminal: Terminal): void {
  filterOptions(
    group
      .command("search")
      .argument("<file...>", "audit files, rotated ones and .gz too, in any order")
      .description("print the records that all of the options say; of a batch one call must"),
  ).action(async (files: readonly string[], options: FilterOptions) => {
    const print = createPrinter(options, terminal);
    // A file may begin with what stands at the end of the one before as well.
    const known = new Set<string>();
    let count = 0;
    for (const file of await inOrder(files))
      for await (const found of foundIn(file, options, terminal)) {
        if (known.has(found.hash)) continue;
        known.add(found.hash);
        if (known.size > maxKnown) known.delete(known.values().next().value ?? "");
        print(found);
        count += 1;
      }
    if (count === 0) throw new CliError("no such record");
  });

  filterOptions(
    group
      .command("tail")
      .argument("<file>", "an audit file")
      .description("print the newest records, and those that come"),
  )
    .option("-n, --lines <n>", "how many of the newest", numberBetween(0, 1_000_000), 20)
    .option("-f, --follow", "go on with those that come, across rotations", false)
    .action((file: string, options: TailOptions) => tail(file, options, terminal));
}
