// The mutants of a source: one small change each, that some test has to notice.
import { stripTypeScriptTypes } from "node:module";
import { type AnyNode, type Expression, parse } from "acorn";
import { ancestor } from "acorn-walk";

export type Mutant = {
  /** Counted from 1. */
  readonly line: number;
  /** The line, or the lines, before the change and after it; white space is one blank each. */
  readonly was: string;
  readonly is: string;
  /** The whole source with the change, types left out. */
  readonly text: string;
};

/** Each operator, and those that could stand there by mistake. */
const operators: Readonly<Record<string, readonly string[]>> = {
  "===": ["!=="],
  "!==": ["==="],
  "<": ["<=", ">="],
  "<=": ["<", ">"],
  ">": [">=", "<="],
  ">=": [">", "<"],
  "+": ["-"],
  "-": ["+"],
  "*": ["/"],
  "/": ["*"],
  "&&": ["||"],
  "||": ["&&"],
};

function onOneLine(text: string): string {
  return text.trim().replaceAll(/\s+/g, " ");
}

/** Words for people: nobody holds them against a test. */
function isForPeople(node: AnyNode): boolean {
  if (node.type !== "CallExpression" && node.type !== "NewExpression") return false;
  const { callee } = node;
  return (
    (callee.type === "MemberExpression" && callee.object.type === "Identifier" && callee.object.name === "log") ||
    (node.type === "NewExpression" && callee.type === "Identifier" && callee.name === "Error")
  );
}

/** @param source TypeScript, of which only types are erased: every place stays where it is */
export function mutantsOf(source: string): readonly Mutant[] {
  const code = stripTypeScriptTypes(source, { mode: "strip" });
  const found: Mutant[] = [];
  const change = (start: number, end: number, to: string): void => {
    const begin = source.lastIndexOf("\n", start - 1) + 1;
    const newline = source.indexOf("\n", end);
    const close = newline < 0 ? source.length : newline;
    found.push({
      line: source.slice(0, start).split("\n").length,
      was: onOneLine(source.slice(begin, close)),
      is: onOneLine(source.slice(begin, start) + to + source.slice(end, close)),
      text: code.slice(0, start) + to + code.slice(end),
    });
  };
  /** The operator between two operands. */
  const between = (left: AnyNode, right: AnyNode, operator: string): void => {
    const at = code.indexOf(operator, left.end);
    if (at < 0 || at >= right.start) return;
    for (const other of operators[operator] ?? []) change(at, at + operator.length, other);
  };
  const always = (test: Expression): void => {
    for (const value of ["true", "false"]) change(test.start, test.end, value);
  };
  const skipping = (visit: (node: never) => void) => (node: AnyNode, _: unknown, ancestors: readonly AnyNode[]) => {
    if (!ancestors.some(isForPeople)) visit(node as never);
  };
  type Of<T extends AnyNode["type"]> = Extract<AnyNode, { type: T }>;
  ancestor(parse(code, { ecmaVersion: "latest", sourceType: "module" }), {
    BinaryExpression: skipping(({ left, right, operator }: Of<"BinaryExpression">) => between(left, right, operator)),
    LogicalExpression: skipping(({ left, right, operator, start, end }: Of<"LogicalExpression">) => {
      if (operator === "??") change(start, end, code.slice(left.start, left.end));
      else between(left, right, operator);
    }),
    UnaryExpression: skipping(({ operator, argument, start, end }: Of<"UnaryExpression">) => {
      if (operator === "!") change(start, end, code.slice(argument.start, argument.end));
    }),
    IfStatement: skipping(({ test }: Of<"IfStatement">) => always(test)),
    ConditionalExpression: skipping(({ test }: Of<"ConditionalExpression">) => always(test)),
    ThrowStatement: skipping(({ start, end }: Of<"ThrowStatement">) => change(start, end, ";")),
    ExpressionStatement: skipping(({ expression, start, end }: Of<"ExpressionStatement">) => {
      const isCall = expression.type === "CallExpression" || expression.type === "AwaitExpression";
      if (isCall && !isForPeople(expression)) change(start, end, ";");
    }),
    Literal: skipping(({ value, start, end }: Of<"Literal">) => {
      if (typeof value === "boolean") change(start, end, String(!value));
      if (value === 0 || value === 1) change(start, end, String(value + 1));
    }),
  });
  return found.toSorted((a, b) => a.line - b.line);
}
