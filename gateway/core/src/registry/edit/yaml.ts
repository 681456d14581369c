// The only file that imports yaml in this package: its nodes with their places in a text, and scalars as
// text.
import { stringify } from "yaml";

export { isMap, isNode, isScalar, isSeq, parseDocument, stringify, type YAMLMap, type YAMLSeq } from "yaml";

/** Quoted where YAML would take it for something else than text: a key called `true` or `1e3`. */
export function scalar(value: string): string {
  return stringify(value).trimEnd();
}
