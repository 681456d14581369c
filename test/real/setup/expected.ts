// What a page says is printed, held against what was: equal but for what differs each time. A line `…`
// stands for any lines, and a `…` within a line for any text of it.
const varying: readonly (readonly [what: string, pattern: RegExp])[] = [
  ["TIME", /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g],
  ["UID", /\b01[0-9A-HJKMNP-TV-Z]{24}\b/g],
  ["HASH", /\bsha256:[0-9a-f]{64}\b/g],
  ["KEY_ID", /\bclv1\.[\w-]+/g],
  ["RELEASE", /\b\d+\.\d+\.\d+(?:-[\w.]+)?\b(?!\.\d)/g],
  ["DURATION", /\b\d+(?:\.\d+)? ms\b/g],
];

function normalise(text: string): readonly string[] {
  const alike = varying.reduce((now, [what, pattern]) => now.replaceAll(pattern, what), text);
  // Columns move with what stands in them.
  return alike
    .trimEnd()
    .split("\n")
    .map((line) => line.trimEnd().replaceAll(/ {2,}/g, "  "));
}

function fits(line: string, wanted: string): boolean {
  const pattern = wanted.split("…").map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${pattern.join(".*")}$`).test(line);
}

function linesFit(lines: readonly string[], wanted: readonly string[]): boolean {
  const [first, ...rest] = wanted;
  if (first === undefined) return lines.length === 0;
  if (first === "…") return lines.some((_, i) => linesFit(lines.slice(i), rest)) || rest.length === 0;
  const [line, ...others] = lines;
  return line !== undefined && fits(line, first) && linesFit(others, rest);
}

/** Whether a text is what a page says. */
export function isExpected(printed: string, wanted: string): boolean {
  return linesFit(normalise(printed), normalise(wanted));
}
