// The only file that imports yaml in this package: its nodes with their places in a text, and scalars as
// text.
import { stringify } from "yaml";

export { isMap, isNode, isScalar, isSeq, parseDocument, stringify, type YAMLMap, type YAMLSeq } from "yaml";

/** Quoted where YAML would take it for something else than text: a key called `true` or `1e3`. */
export function scalar(value: string): string {
  return stringify(value).trimEnd();
}

/** Any value in block style, lines as long as they are. @param isQuoted every text within quotes */
export function yamlText(value: unknown, isQuoted = false): string {
  return stringify(value, { lineWidth: 0, ...(isQuoted && { defaultStringType: "QUOTE_DOUBLE" }) }).trimEnd();
}
