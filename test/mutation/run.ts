// `npm run mutation [-- WORDS...]`: changes the sources in one place at a time and runs their unit tests,
// which have to notice. Prints what they did not notice, and the score. Works in copies of the repository
// below the system's temporary directory, one for each core.
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, relative } from "node:path";
import { type Mutant, mutantsOf } from "./mutants.ts";
import { type Target, targets } from "./targets.ts";

const root = join(import.meta.dirname, "..", "..");
const packages = ["gateway", "proto", "shim", "test"];
/** A mutant that takes so many times as long as the tests do is in a loop, and noticed. */
const patience = 5;
const leastMs = 10_000;

/** A copy in which sources may be changed: packages of npm are shared, those of the repository are its own. */
function copyRepository(into: string): void {
  const modules = join(root, "node_modules");
  for (const name of packages)
    cpSync(join(root, name), join(into, name), {
      recursive: true,
      filter: (from) => !relative(root, from).split("/").includes("node_modules"),
    });
  for (const name of ["package.json", "tsconfig.json", "docs", "infra", "README.md", "SECURITY.md"])
    cpSync(join(root, name), join(into, name), { recursive: true });
  mkdirSync(join(into, "node_modules", "@claviger"), { recursive: true });
  for (const name of readdirSync(modules))
    if (name !== "@claviger") symlinkSync(join(modules, name), join(into, "node_modules", name));
  cpSync(join(modules, "@claviger"), join(into, "node_modules", "@claviger"), {
    recursive: true,
    verbatimSymlinks: true,
  });
}

/** Do all of these tests pass? */
async function pass(copy: string, tests: readonly string[], timeout: number): Promise<boolean> {
  for (const file of tests) {
    const ended = await new Promise<boolean>((resolve) => {
      execFile(process.execPath, [file], { cwd: copy, timeout, killSignal: "SIGKILL" }, (error) =>
        resolve(error === null),
      );
    });
    if (!ended) return false;
  }
  return true;
}

type Result = { readonly target: Target; readonly survivors: readonly Mutant[]; readonly count: number };

async function runTarget(target: Target, copies: readonly string[]): Promise<Result> {
  const { source, tests } = target;
  const original = readFileSync(join(root, source), "utf8");
  const began = performance.now();
  if (!(await pass(copies[0] ?? "", tests, 120_000))) throw new Error(`the tests of ${source} fail as it is`);
  const timeout = Math.ceil(Math.max(leastMs, patience * (performance.now() - began)));
  const mutants = mutantsOf(original);
  const left = mutants.values();
  const survivors: Mutant[] = [];
  await Promise.all(
    copies.map(async (copy) => {
      for (const mutant of left) {
        writeFileSync(join(copy, source), mutant.text);
        if (await pass(copy, tests, timeout)) survivors.push(mutant);
      }
      writeFileSync(join(copy, source), original);
    }),
  );
  return { target, survivors: survivors.toSorted((a, b) => a.line - b.line), count: mutants.length };
}

function report({ target, survivors, count }: Result): void {
  const killed = count - survivors.length;
  console.log(`${target.source}: ${killed} of ${count} noticed (${((100 * killed) / count).toFixed(0)} %)`);
  for (const { line, from, to } of survivors) console.log(`  ${target.source}:${line}: ${from}  →  ${to}`);
}

const words = process.argv.slice(2);
const chosen = targets.filter(({ source }) => words.length === 0 || words.some((word) => source.includes(word)));
const dir = mkdtempSync(join(tmpdir(), "claviger-mutation-"));
try {
  const copies = Array.from({ length: availableParallelism() }, (_, i) => join(dir, String(i)));
  for (const copy of copies) copyRepository(copy);
  const results: Result[] = [];
  for (const target of chosen) {
    const result = await runTarget(target, copies);
    report(result);
    results.push(result);
  }
  const all = results.reduce((sum, { count }) => sum + count, 0);
  const alive = results.reduce((sum, { survivors }) => sum + survivors.length, 0);
  console.log(`\n${all - alive} of ${all} mutants noticed: ${((100 * (all - alive)) / all).toFixed(1)} %`);
} finally {
  rmSync(dir, { recursive: true, force: true });
}
