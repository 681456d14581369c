// The only file that imports yaml in this package: its nodes with their places in a text, and scalars as
// text.
import { stringify } from "yaml";

export { isMap, isNode, isScalar, isSeq, parseDocument, stringify, type YAMLMap, type YAMLSeq } from "yaml";

/** Kubernetes, k3s and most other programs read YAML 1.1, to which `on` and `012` are no texts. */
const compat = "yaml-1.1";

/** Quoted where YAML 1.1 or 1.2 would take it for something else than text: a key called `true`, `on` or `1e3`. */
export function scalar(value: string): string {
  return stringify(value, { compat }).trimEnd();
}

/** Any value in block style, lines as long as they are. @param isQuoted every text within quotes */
export function yamlText(value: unknown, isQuoted = false): string {
  return stringify(value, { compat, lineWidth: 0, ...(isQuoted && { defaultStringType: "QUOTE_DOUBLE" }) }).trimEnd();
}
