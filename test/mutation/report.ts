// What a run has shown, as a page in Markdown, and whether that is good.
import { tableOf } from "../bench/fleet/figures.ts";
import type { Measured } from "./measure.ts";
import type { Mutant } from "./mutants.ts";
import type { Explained } from "./survivors.ts";

/** Percent of the mutants of each source that its tests have to notice, without those that are explained. */
export const leastScore = 90;

/** A measured source beside what is explained of it. */
export type Judged = Measured & {
  readonly why: ReadonlyMap<Mutant, string>;
  /** Explanations of mutants that are noticed, or are no longer there. */
  readonly stale: readonly Explained[];
};

/** Each explanation stands for one survivor. */
export function judge(measured: Measured, explained: readonly Explained[]): Judged {
  const left = new Set(explained.filter(({ source }) => source === measured.target.source));
  const why = new Map<Mutant, string>();
  for (const mutant of measured.survivors) {
    const found = [...left].find(({ was, is }) => was === mutant.was && is === mutant.is);
    if (found === undefined) continue;
    left.delete(found);
    why.set(mutant, found.why);
  }
  return { ...measured, why, stale: [...left] };
}

/** Percent, rounded down: 89.99 is not 90. */
function percent(part: number, whole: number): number {
  return whole === 0 ? 100 : Math.floor((1000 * part) / whole) / 10;
}

function scoresOf({ count, survivors, why }: Judged): { readonly raw: number; readonly without: number } {
  const noticed = count - survivors.length;
  return { raw: percent(noticed, count), without: percent(noticed, count - why.size) };
}

const heads = ["source", "mutants", "noticed", "score, %", "explained", "score without the explained, %"];

function rowOf(judged: Judged): readonly string[] {
  const { target, count, survivors, why } = judged;
  const { raw, without } = scoresOf(judged);
  return [
    target.source,
    String(count),
    String(count - survivors.length),
    raw.toFixed(1),
    String(why.size),
    without.toFixed(1),
  ];
}

export function formatReport(results: readonly Judged[]): string {
  return tableOf(heads, results.map(rowOf));
}

/** @returns what is not as it must be; empty when all is */
export function problemsOf(results: readonly Judged[]): readonly string[] {
  return results.flatMap((judged) => {
    const { target, count, stale } = judged;
    const { without } = scoresOf(judged);
    return [
      ...(count === 0 ? [`${target.source}: it has no mutants`] : []),
      ...(without < leastScore ? [`${target.source}: ${without.toFixed(1)} % noticed, ${leastScore} % must be`] : []),
      ...stale.map(({ was, is }) => `${target.source}: explained, and noticed or not there: ${was}  →  ${is}`),
    ];
  });
}

/** The survivors of a source, one line each. */
export function survivorLines({ survivors, why, target }: Judged): readonly string[] {
  return survivors.map(
    (mutant) =>
      `  ${target.source}:${mutant.line}: ${mutant.was}  →  ${mutant.is}${why.has(mutant) ? "  (explained)" : ""}`,
  );
}

function code(text: string): string {
  return text.includes("`") ? `\`\` ${text} \`\`` : `\`${text}\``;
}

/** What stands below a source's heading. */
function listOf({ survivors, why }: Judged): string {
  return survivors
    .map((mutant) => `* ${code(mutant.was)} → ${code(mutant.is)}\\\n  ${why.get(mutant) ?? "not explained"}`)
    .join("\n");
}

/** The rows and lists of a page that was written before, by source. */
function read(page: string): { rows: Map<string, readonly string[]>; lists: Map<string, string> } {
  const [table = "", ...sections] = page.split("\n### ");
  const rows = table
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .map((line) => line.slice(2, -2).split(" | "));
  return {
    rows: new Map(rows.map((row) => [row[0] ?? "", row])),
    lists: new Map(
      sections.map((section) => {
        const end = section.indexOf("\n");
        return [section.slice(0, end), section.slice(end).trim()];
      }),
    ),
  };
}

/**
 * docs/mutation.md: what a run has found, in the order of the targets, beside what an earlier run wrote there.
 * @param sources all that there are; what is none of them goes
 */
export function pageOf(results: readonly Judged[], sources: readonly string[], earlier = ""): string {
  const { rows, lists } = read(earlier);
  for (const judged of results) {
    rows.set(judged.target.source, rowOf(judged));
    lists.set(judged.target.source, listOf(judged));
  }
  const table = tableOf(
    heads,
    sources.flatMap((source) => [rows.get(source) ?? []].filter((row) => row.length > 0)),
  );
  const sections = sources
    .filter((source) => (lists.get(source) ?? "") !== "")
    .map((source) => `### ${source}\n\n${lists.get(source)}\n`);
  return `# Mutation

<!-- Written by \`npm run mutation -- --write\` from a run. Edit test/mutation, then run it. -->

Each source is changed in one place at a time: an operator is another one, a condition always or never holds, a call, a throw or a default is left out, a constant is another. The unit tests that \`test/mutation/targets.ts\` names for it have to notice, by a failure or by not coming to an end. A run fails where they notice less than ${leastScore} %.

* **explained**: survivors with which the program does the same, so that no test can notice them; \`test/mutation/survivors.ts\` says why. An explanation of a mutant that is noticed fails the run.
* **score without the explained**: of the mutants that can be noticed. This one has to be ${leastScore} %.

${table}

## Survivors

Before and after the change, and why it is not noticed.

${sections.join("\n")}`;
}
