// Labels and selectors as they are given on a command line, in kubectl's words.
import {
  isLabelKey,
  isLabelValue,
  labelKeyRule,
  type Labels,
  type LabelSelector,
  labelValueRule,
} from "@claviger/gateway-core/src/registry/labels.ts";
import { parseSelector as readSelector, SelectorError } from "@claviger/gateway-core/src/registry/selector.ts";
import { CliError } from "./commander.ts";

/** What `cluster label` does to one label; undefined takes it away. */
export type LabelEdit = { readonly key: string; readonly value: string | undefined };

function checkKey(given: string, key: string): string {
  if (!isLabelKey(key)) throw new CliError(`label ${JSON.stringify(given)}: what is named must be ${labelKeyRule}`);
  return key;
}

function checkValue(given: string, value: string): string {
  if (!isLabelValue(value))
    throw new CliError(`label ${JSON.stringify(given)}: what it is given must be ${labelValueRule}`);
  return value;
}

/** `KEY=VALUE`, or `KEY-` for one that goes. @throws CliError */
export function parseLabelEdits(given: readonly string[]): readonly LabelEdit[] {
  const edits = given.map((text): LabelEdit => {
    const at = text.indexOf("=");
    if (at > 0) return { key: checkKey(text, text.slice(0, at)), value: checkValue(text, text.slice(at + 1)) };
    if (at < 0 && text.endsWith("-")) return { key: checkKey(text, text.slice(0, -1)), value: undefined };
    throw new CliError(`label ${JSON.stringify(text)} must be KEY=VALUE, or KEY- to take it away`);
  });
  const twice = edits.find(({ key }, i) => edits.findIndex((other) => other.key === key) !== i);
  if (twice !== undefined) throw new CliError(`label ${twice.key} is given twice`);
  return edits;
}

/** `KEY=VALUE`, several. @throws CliError */
export function parseLabels(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    parseLabelEdits(given).map(({ key, value }) => {
      if (value === undefined) throw new CliError(`label ${JSON.stringify(`${key}-`)} must be KEY=VALUE`);
      return [key, value];
    }),
  );
}

/**
 * The labels after some edits.
 * @throws CliError where one would get another value, and that was not asked for
 */
export function editLabels(
  labels: Labels,
  edits: readonly LabelEdit[],
  overwrite: boolean,
  cluster: string,
): Record<string, string> {
  const next = new Map(Object.entries(labels));
  for (const { key, value } of edits) {
    const before = next.get(key);
    if (value === undefined) next.delete(key);
    else if (before !== undefined && before !== value && !overwrite)
      throw new CliError(
        `cluster ${cluster} has the label ${key}=${before}; give it another value with --overwrite (gateways that serve by it may then not serve the cluster)`,
      );
    else next.set(key, value);
  }
  return Object.fromEntries(next);
}

/** A selector as kubectl's `-l` takes it; an empty one selects everything. @throws CliError */
export function parseSelector(text: string): LabelSelector {
  try {
    return readSelector(text);
  } catch (error) {
    if (error instanceof SelectorError) throw new CliError(error.message);
    throw error;
  }
}

/** As kubectl shows them. */
export function printLabels(labels: Labels = {}): string {
  const parts = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return parts.length === 0 ? "<none>" : parts.join(",");
}
