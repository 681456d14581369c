// Labels of clusters, and selectors over them, as Kubernetes has both: which clusters a gateway serves,
// and which a command is about. (docs/architecture.md #cells.)
import { z } from "@claviger/proto/runtime/config.ts";

export type Labels = Readonly<Record<string, string>>;

/** Labels of one cluster. */
const maxLabels = 32;
/** Parts of a selector, and values of each. */
const maxRequirements = 32;
const maxValues = 256;

const word = "[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?";
const part = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
const keyForm = new RegExp(`^(?:(?=[^/]{1,253}/)${part}(?:\\.${part})*/)?${word}$`);
const valueForm = new RegExp(`^(?:${word})?$`);

export const labelKeyRule =
  "a label's key: letters, digits, '-', '_' and '.', at most 63 characters, begun and ended by a letter or digit; a DNS name and '/' may stand before it";
export const labelValueRule =
  "a label's value: a text (quoted where it is true, 1 or the like) of letters, digits, '-', '_' and '.', at most 63 characters, begun and ended by a letter or digit; or empty";

export function isLabelKey(text: string): boolean {
  return keyForm.test(text);
}

export function isLabelValue(text: string): boolean {
  return valueForm.test(text);
}

const labelKey = z
  .string({ error: `must be ${labelKeyRule}` })
  .check(z.regex(keyForm, { error: `must be ${labelKeyRule}` }));
const labelValue = z
  .string({ error: `must be ${labelValueRule}` })
  .check(z.regex(valueForm, { error: `must be ${labelValueRule}` }));

function atMost(count: number, what: string) {
  return z.refine<Record<string, string>>((map) => Object.keys(map).length <= count, {
    error: `must have at most ${count} ${what}`,
  });
}

/** The labels of a record. */
export const labelsSchema = z.record(labelKey, labelValue).check(atMost(maxLabels, "labels"));

const values = z
  .array(labelValue)
  .check(
    z.minLength(1, { error: "must list at least one value" }),
    z.maxLength(maxValues, { error: `must list at most ${maxValues} values` }),
  );

const requirement = z
  .strictObject({
    /** The key of the label. */
    key: labelKey,
    /**
     * `In`: the label has one of the values. `NotIn`: it has none of them, or is not there. `Exists`: it is
     * there, whatever its value. `DoesNotExist`: it is not.
     */
    operator: z.enum(["In", "NotIn", "Exists", "DoesNotExist"]),
    /** Of `In` and `NotIn`: at least one. */
    values: z.optional(values),
  })
  .check(
    z.refine(({ operator, values: given }) => (given !== undefined) === (operator === "In" || operator === "NotIn"), {
      error: "must stand with In and NotIn, and with no other operator",
      path: ["values"],
    }),
  );

/** A label selector of Kubernetes: everything in it must hold; an empty one selects everything. */
export const selectorSchema = z.strictObject({
  /** Labels that the cluster has, each with this value. */
  matchLabels: z.optional(z.record(labelKey, labelValue).check(atMost(maxRequirements, "labels"))),
  /** Conditions on labels. */
  matchExpressions: z.optional(
    z
      .array(requirement)
      .check(z.maxLength(maxRequirements, { error: `must list at most ${maxRequirements} conditions` })),
  ),
});

export type LabelSelector = z.infer<typeof selectorSchema>;
export type Requirement = z.infer<typeof requirement>;

function holds({ key, operator, values: listed = [] }: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case "In":
      return value !== undefined && listed.includes(value);
    case "NotIn":
      return value === undefined || !listed.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}

/** Does everything in the selector hold? */
export function isSelected({ matchLabels = {}, matchExpressions = [] }: LabelSelector, labels: Labels = {}): boolean {
  return (
    Object.entries(matchLabels).every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value) &&
    matchExpressions.every((condition) => holds(condition, labels))
  );
}

/** Is a cluster served? */
export type Serves = (cluster: { readonly labels?: Labels | undefined }) => boolean;

/** What a gateway's `serves` means; absent, it serves every cluster. */
export function createServes(selector: LabelSelector | undefined): Serves {
  return selector === undefined ? () => true : ({ labels }) => isSelected(selector, labels);
}

function requirementText({ key, operator, values: listed = [] }: Requirement): string {
  switch (operator) {
    case "In":
      return `${key} in (${listed.join(",")})`;
    case "NotIn":
      return `${key} notin (${listed.join(",")})`;
    case "Exists":
      return key;
    case "DoesNotExist":
      return `!${key}`;
  }
}

/** A selector as kubectl's `-l` has it; empty for one that selects everything. */
export function selectorText({ matchLabels = {}, matchExpressions = [] }: LabelSelector): string {
  return [
    ...Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`),
    ...matchExpressions.map(requirementText),
  ].join(",");
}
