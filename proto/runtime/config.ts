// Configuration: text → one frozen typed object, or every problem at once. Unknown keys are
// refused; secrets are file paths. The only file that imports zod and yaml for configuration files.
import { readFileSync } from "node:fs";
import { parseDocument } from "yaml";
import * as z from "zod/mini";
import { parseDuration } from "./duration.ts";
import type { NameKind } from "../wire/names.ts";

export { z };

/** What is wrong with a configuration, one line per problem: where, what, and what to do. A single problem is one line. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly string[];

  constructor(source: string, problems: readonly string[]) {
    const [only] = problems;
    super(
      only !== undefined && problems.length === 1
        ? `${source}: ${only}`
        : `${source}: ${problems.length} problems\n${problems.map((line) => `  ${line}`).join("\n")}`,
    );
    this.problems = problems;
  }
}

/** A name of the given kind. */
export function zName<T extends string>(kind: NameKind<T>) {
  return z.custom<T>(kind.is, { error: `must be ${kind.rule}` });
}

/** Is it https://HOST:PORT and nothing more: no credentials, path, query or fragment? */
export function isHttpsOrigin(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, pathname, search, hash } = new URL(text);
  return (
    protocol === "https:" && username === "" && password === "" && pathname === "/" && search === "" && hash === ""
  );
}

/** A duration between two bounds (themselves durations), as milliseconds. */
export function zDuration(min: string, max: string) {
  const [low, high] = [parseDuration(min) ?? 0, parseDuration(max) ?? 0];
  const inRange = (value: string): boolean => {
    const ms = parseDuration(value);
    return ms !== undefined && ms >= low && ms <= high;
  };
  const error = `must be a duration such as 500ms, 10s, 5m or 1h, from ${min} to ${max}`;
  return z.pipe(
    z.string({ error }).check(z.refine(inRange, { error })),
    z.transform((value: string) => parseDuration(value) ?? 0),
  );
}

/** A whole number between two bounds. */
export function zInteger(min: number, max: number) {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.int({ error }).check(z.minimum(min, { error }), z.maximum(max, { error }));
}

/**
 * A path of a file or socket; not empty, no NUL. Relative ones count from the working directory.
 */
export const zPath = z.string({ error: "must be a path" }).check(z.regex(/^[^\0]+$/, { error: "must be a path" }));

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}

/** What zod/mini says of everything that has no text of its own in the schema. */
const unexplained = "Invalid input";

const forms: Readonly<Record<string, string>> = {
  object: "a mapping (name: value)",
  record: "a mapping (name: value)",
  array: "a list",
  string: "a text",
  number: "a number",
  boolean: "true or false",
};

function oneOf(values: readonly unknown[]): string {
  return `must be ${values.length === 1 ? "" : "one of "}${values.map(String).join(", ")}`;
}

/** The form that a value must have, where its schema has no text for it. */
function formOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return `must be ${forms[issue.expected] ?? issue.expected}`;
    case "invalid_value":
      return oneOf(issue.values);
    case "invalid_key":
      return issue.issues[0]?.message ?? "has a name that it cannot have";
    case "invalid_union":
      return oneOf("options" in issue ? (issue.options ?? []) : []);
    default:
      return "has a value that it cannot have; docs/reference/settings.md says which it can";
  }
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) =>
      typeof inner === "object" && inner !== null ? (inner as Record<PropertyKey, unknown>)[key] : undefined,
    value,
  );
}

/** @param whole what was checked */
function issueLines(issue: z.core.$ZodIssue, whole: unknown): readonly string[] {
  const at = issue.path.join(".");
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) => `${at === "" ? key : `${at}.${key}`}: no such setting`);
  const form = issue.message === unexplained ? formOf(issue) : issue.message;
  const given = valueAt(whole, issue.path);
  const isAbsent = given === undefined || given === null;
  return [
    `${at === "" ? "(top)" : at}: ${isAbsent ? `${given === null ? "is empty" : "is missing"}; it ${form}` : form}`,
  ];
}

/**
 * Checks a plain value against a schema.
 * @param source named in the error, e.g. the file's path
 * @throws ConfigError with every problem; values are not repeated in it
 */
export function checkConfig<S extends z.core.$ZodType>(source: string, value: unknown, schema: S): z.core.output<S> {
  const result = z.safeParse(schema, value);
  if (!result.success)
    throw new ConfigError(
      source,
      result.error.issues.flatMap((issue) => issueLines(issue, value)),
    );
  return deepFreeze(result.data);
}

/** A mapping of settings, before it is checked. */
export type Tree = { [name: string]: unknown };

export function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Reads settings under the names that they had in an earlier release.
 * @param renamed earlier name → name now; both are names within `tree` itself
 * @param at where `tree` stands in the configuration, for the warning: "" or "outage."
 * @param warn called with one line for each earlier name in use
 * @returns a copy with the names of now; where both stand, the schema refuses the earlier one
 */
export function acceptRenamed(
  tree: unknown,
  renamed: Readonly<Record<string, string>>,
  at: string,
  warn: (line: string) => void,
): unknown {
  if (!isTree(tree)) return tree;
  const entries = Object.entries(tree).map(([name, value]) => {
    const next = renamed[name];
    if (next === undefined || Object.hasOwn(tree, next)) return [name, value];
    warn(`${at}${name} is now called ${at}${next}; the earlier name is read until the next release`);
    return [next, value];
  });
  return Object.fromEntries(entries);
}

/**
 * Parses YAML (or JSON, which is YAML) into plain values.
 * @throws ConfigError with every syntax error and its line
 */
export function parseYaml(source: string, text: string): unknown {
  // Without `logLevel` the library would say on stderr what stands in a mapping that is a key.
  const document = parseDocument(text, { uniqueKeys: true, prettyErrors: true, logLevel: "error" });
  const problems = [...document.errors, ...document.warnings].map((problem) => problem.message.split("\n")[0] ?? "");
  if (problems.length > 0) throw new ConfigError(source, problems);
  try {
    return document.toJS({ maxAliasCount: 0 }) as unknown;
  } catch {
    throw new ConfigError(source, ["anchors and aliases are not allowed"]);
  }
}

/**
 * Reads a configuration file as plain values.
 * @throws ConfigError when it cannot be read or is not YAML
 */
export function readYamlFile(file: string): unknown {
  const tree = parseYaml(file, readText(file));
  const problems = placeholdersIn(tree, "");
  if (problems.length > 0) throw new ConfigError(file, problems);
  return tree;
}

/** What examples and templates leave for somebody to fill in. */
const placeholder = /(?<![A-Za-z\d])(?:CHANGE[_-]?ME|REPLACE[_-](?:ME|WITH|THIS)\w*|FILL[_-]?ME[_-]?IN)(?![A-Za-z])/i;

/** Settings that are still a placeholder, one line each. */
function placeholdersIn(value: unknown, at: string): readonly string[] {
  if (typeof value === "string") {
    const found = placeholder.exec(value)?.[0];
    return found === undefined ? [] : [`${at}: is still a placeholder (${found}); put your own value there`];
  }
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => placeholdersIn(inner, at === "" ? name : `${at}.${name}`));
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError(file, [`cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`]);
  }
}
