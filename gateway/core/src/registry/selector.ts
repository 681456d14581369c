// A label selector as kubectl's `-l` writes it. (docs/architecture.md #cells.)
import {
  isLabelKey,
  isLabelValue,
  labelKeyRule,
  type LabelSelector,
  labelValueRule,
  type Requirement,
} from "./labels.ts";

/** What is wrong with a selector, in words. */
export class SelectorError extends Error {
  override readonly name = "SelectorError";
}

function checkKey(selector: string, key: string): string {
  if (isLabelKey(key)) return key;
  throw new SelectorError(`label ${JSON.stringify(selector)}: what is named must be ${labelKeyRule}`);
}

function checkValue(selector: string, value: string): string {
  if (isLabelValue(value)) return value;
  throw new SelectorError(`label ${JSON.stringify(selector)}: what it is given must be ${labelValueRule}`);
}

function requirementOf(text: string, selector: string): Requirement {
  const value = (one: string): string => checkValue(selector, one);
  const compared = /^([^\s=!]+)\s*(==?|!=)\s*(\S*)$/.exec(text);
  if (compared !== null) {
    const [, key = "", sign, wanted = ""] = compared;
    return { key: checkKey(selector, key), operator: sign === "!=" ? "NotIn" : "In", values: [value(wanted)] };
  }
  const listed = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/.exec(text);
  if (listed !== null) {
    const [, key = "", word, list = ""] = listed;
    const values = list.split(",").map((one) => value(one.trim()));
    return { key: checkKey(selector, key), operator: word === "in" ? "In" : "NotIn", values };
  }
  const absent = /^!\s*(\S+)$/.exec(text)?.[1];
  if (absent !== undefined) return { key: checkKey(selector, absent), operator: "DoesNotExist" };
  if (!isLabelKey(text))
    throw new SelectorError(
      `-l ${JSON.stringify(selector)} is no selector; as for kubectl: KEY=VALUE, KEY!=VALUE, 'KEY in (A,B)', 'KEY notin (A,B)', KEY, '!KEY', joined by commas`,
    );
  return { key: text, operator: "Exists" };
}

/** An empty text selects everything. @throws SelectorError */
export function parseSelector(text: string): LabelSelector {
  if (text.trim() === "") return {};
  // A comma within parentheses is of a list.
  const parts = text.split(/,(?![^()]*\))/);
  return { matchExpressions: parts.map((part) => requirementOf(part.trim(), text)) };
}
