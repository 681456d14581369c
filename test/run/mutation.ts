// `npm run mutation`: changes sources in one place at a time; their unit tests have to notice. See `--help`.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createMeasurer } from "../mutation/measure.ts";
import { formatReport, type Judged, judge, leastScore, pageOf, problemsOf, survivorLines } from "../mutation/report.ts";
import { explained } from "../mutation/survivors.ts";
import { targets } from "../mutation/targets.ts";
import { root } from "./files.ts";
import { runProgram, say, UsageError } from "./program.ts";

const usage = `npm run mutation -- [--write] [WORD...]

Changes the sources that test/mutation/targets.ts names in one place at a time, in copies of the repository, and runs their unit tests.
Prints what the tests do not notice, and a table in Markdown. The status is 1 where they notice less than ${leastScore} % of what can be noticed.

  WORD      only the sources whose paths contain one of these words
  --write   writes the results into docs/mutation.md
`;

function parse(args: string[]) {
  const { values, positionals } = parseArgs({
    args,
    options: { write: { type: "boolean", default: false }, help: { type: "boolean", short: "h", default: false } },
    allowPositionals: true,
  });
  if (values.help) return undefined;
  const chosen = targets.filter(
    ({ source }) => positionals.length === 0 || positionals.some((word) => source.includes(word)),
  );
  if (chosen.length === 0) throw new UsageError(`no source is named like ${positionals.join(" or ")}`);
  return { isWritten: values.write, chosen };
}

async function run({ isWritten, chosen }: NonNullable<ReturnType<typeof parse>>, signal: AbortSignal): Promise<number> {
  const measurer = createMeasurer(signal);
  const results: Judged[] = [];
  try {
    for (const target of chosen) {
      const began = performance.now();
      const judged = judge(await measurer.measure(target), explained);
      const seconds = Math.round((performance.now() - began) / 1000);
      say(`${target.source}: ${judged.count - judged.survivors.length} of ${judged.count} noticed, ${seconds} s`);
      for (const line of survivorLines(judged)) say(line);
      results.push(judged);
    }
  } finally {
    measurer.close();
  }
  process.stdout.write(`${formatReport(results)}\n`);
  if (isWritten) {
    const page = join(root, "docs", "mutation.md");
    const earlier = existsSync(page) ? readFileSync(page, "utf8") : "";
    const sources = targets.map(({ source }) => source);
    writeFileSync(page, pageOf(results, sources, earlier));
  }
  const problems = problemsOf(results);
  for (const problem of problems) say(problem);
  return problems.length > 0 ? 1 : 0;
}

await runProgram({ usage, parse, run });
