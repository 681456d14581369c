// Which metrics an expression names, and which there are.
import { readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..", "..");
const textOf = (path: string): string => readFileSync(join(root, path), "utf8");

/** The metrics that an expression names; a pattern of names stands for each of them. */
export function metricsIn(expr: string): readonly string[] {
  const expanded = expr.replaceAll(
    /__name__=~"(\w*)\(([\w|]+)\)(\w*)"/g,
    (_, before: string, all: string, after: string) =>
      all
        .split("|")
        .map((one) => `${before}${one}${after}`)
        .join(" "),
  );
  return [...expanded.matchAll(/\b(?:claviger[\w:]+|process_\w+|up(?=[{ ]))/g)].map(([name]) =>
    name.replace(/_(?:bucket|count|sum)$/, ""),
  );
}

/** Those of docs/reference/metrics.md, what recording rules make, and `up`. */
export function knownMetrics(): ReadonlySet<string> {
  const documented = textOf("docs/reference/metrics.md").matchAll(/^\| `(\w+)`/gm);
  const recorded = textOf("infra/mixin/recording.yaml").matchAll(/record: (\S+)/g);
  return new Set(["up", ...[...documented, ...recorded].map(([, name = ""]) => name)]);
}
