// How commands print data: a table for people, JSON or YAML for programs. The names of fields are those of the
// API's JSON and stay as they are; times are RFC 3339. What is no data goes to standard error.
import { type DescMessage, type MessageShape, toJson } from "@bufbuild/protobuf";
import { formatTable, unprintable } from "@claviger/proto/runtime/table.ts";
import { yamlText } from "@claviger/gateway-core/src/registry/edit/yaml.ts";
import { type Command, Option, type Terminal } from "./commander.ts";

const formats = ["table", "json", "yaml"] as const;
export type OutputFormat = (typeof formats)[number];
export type OutputOptions = { readonly output: OutputFormat };

/** Adds `-o`. */
export function outputOption(command: Command): Command {
  return command.addOption(new Option("-o, --output <format>", "how to print").choices(formats).default("table"));
}

/** Adds `-o`, and the `--json` of earlier releases. */
export function outputOptionWithJson(command: Command): Command {
  return outputOption(command).addOption(new Option("--json", "as -o json").implies({ output: "json" }));
}

/** A message as the API's JSON has it, with every field also where its value is the default. */
export function messageJson<Desc extends DescMessage>(schema: Desc): (message: MessageShape<Desc>) => unknown {
  return (message) => toJson(schema, message, { alwaysEmitImplicit: true });
}

export type Column<Row> = {
  /** In capitals. */
  readonly head: string;
  readonly cell: (row: Row) => string;
};

function dataText(value: unknown, format: Exclude<OutputFormat, "table">): string {
  const json = JSON.stringify(value, undefined, 2);
  // What a terminal would act upon gets an escape when it is printed, which YAML knows within quotes alone.
  return format === "json" ? json : yamlText(JSON.parse(json), json.search(unprintableInJson) >= 0);
}

const unprintableInJson = new RegExp(`(?!\n)${unprintable.source}`, "u");

/**
 * Prints a list: a table with a line for each row, or an array.
 * @param json what JSON and YAML have of a row; the row itself where it is absent
 * @param none is said instead of a table without rows
 */
export function printRows<Row>(
  { out, err }: Pick<Terminal, "out" | "err">,
  { output }: OutputOptions,
  {
    rows,
    columns,
    json = (row) => row,
    none = "there is none",
  }: {
    readonly rows: readonly Row[];
    readonly columns: readonly Column<Row>[];
    readonly json?: (row: Row) => unknown;
    readonly none?: string;
  },
): void {
  if (output !== "table") return out(dataText(rows.map(json), output));
  if (rows.length === 0) return err(none);
  const head = columns.map((column) => column.head);
  return out(
    formatTable(
      head,
      rows.map((row) => columns.map(({ cell }) => cell(row))),
    ),
  );
}

/**
 * Prints one thing.
 * @param value for JSON and YAML
 * @param text for people; what others chose in it has gone through `printable`
 */
export function printOne(
  { out }: Pick<Terminal, "out">,
  { output }: OutputOptions,
  { value, text }: { readonly value: unknown; readonly text: () => string },
): void {
  out(output === "table" ? text() : dataText(value, output));
}

/** Pairs, one a line: the names of fields and what they are. */
export function fieldsText(fields: readonly (readonly [name: string, value: string])[]): string {
  const [first, ...others] = fields;
  return first === undefined ? "" : formatTable(first, others);
}

/** A time of the API; empty where there is none. */
export function timeText(time: { readonly seconds: bigint } | undefined): string {
  return time === undefined ? "" : new Date(Number(time.seconds) * 1000).toISOString().replace(/\.\d{3}Z$/, "Z");
}

const units = [
  { name: "d", seconds: 86_400 },
  { name: "h", seconds: 3600 },
  { name: "m", seconds: 60 },
] as const;

/** An age in its largest unit, as kubectl has it: `8d`, `3h`, `12m`, `45s`. @param seconds below 0 counts as 0 */
export function ageText(seconds: number): string {
  const unit = units.find((one) => seconds >= one.seconds);
  return unit === undefined
    ? `${Math.max(0, Math.floor(seconds))}s`
    : `${Math.floor(seconds / unit.seconds)}${unit.name}`;
}
