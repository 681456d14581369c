// Makes the mutants of a source and runs its unit tests with each, in copies of the repository: one for each
// core, below the system's temporary directory.
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, relative } from "node:path";
import { root } from "../run/files.ts";
import { type Mutant, mutantsOf } from "./mutants.ts";
import type { Target } from "./targets.ts";

/** What the tests of a source have noticed. */
export type Measured = {
  readonly target: Target;
  /** All mutants of the source. */
  readonly count: number;
  /** Those that no test has noticed, from top to bottom. */
  readonly survivors: readonly Mutant[];
};

export interface Measurer {
  /** @throws Error when the tests fail without any change, or what the signal was aborted with */
  measure(target: Target): Promise<Measured>;
  /** Removes the copies. */
  close(): void;
}

const packages = ["gateway", "proto", "shim", "test"];
/** A mutant that takes so many times as long as the tests do is in a loop, and noticed. */
const patience = 5;
const leastMs = 10_000;
const wholeMs = 120_000;
/** How node:test reports a failure, whatever it is nested in. */
const failure = /^ *not ok /m;

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

/** @param signal ends the tests that run */
export function createMeasurer(signal: AbortSignal): Measurer {
  const dir = mkdtempSync(join(tmpdir(), "claviger-mutation-"));
  const copies = Array.from({ length: availableParallelism() }, (_, i) => join(dir, String(i)));
  for (const copy of copies) copyRepository(copy);
  const env = { ...process.env, NODE_COMPILE_CACHE: join(dir, "compiled") };

  /** Does the file pass? The first failure ends it. Rejects when it cannot be run, or is no longer to be. */
  const passes = (copy: string, file: string, timeout: number): Promise<boolean> =>
    new Promise((resolve, reject) => {
      const child = spawn(process.execPath, ["--test-reporter=tap", file], {
        cwd: copy,
        env,
        timeout,
        signal,
        killSignal: "SIGKILL",
        stdio: ["ignore", "pipe", "ignore"],
      });
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        if (failure.test(text)) child.kill("SIGKILL");
      });
      child.once("error", reject).once("close", (code) => resolve(code === 0));
    });
  const allPass = async (copy: string, { tests }: Target, timeout: number): Promise<boolean> => {
    for (const file of tests) if (!(await passes(copy, file, timeout))) return false;
    return true;
  };

  return {
    async measure(target) {
      const { source } = target;
      const original = readFileSync(join(root, source), "utf8");
      const began = performance.now();
      const asTheyAre = await Promise.all(copies.map((copy) => allPass(copy, target, wholeMs)));
      signal.throwIfAborted();
      if (asTheyAre.includes(false)) throw new Error(`the tests of ${source} fail as it is`);
      const timeout = Math.ceil(Math.max(leastMs, patience * (performance.now() - began)));
      const mutants = mutantsOf(original);
      const left = mutants.values();
      const survivors: Mutant[] = [];
      await Promise.all(
        copies.map(async (copy) => {
          for (const mutant of left) {
            writeFileSync(join(copy, source), mutant.text);
            if (await allPass(copy, target, timeout)) survivors.push(mutant);
            signal.throwIfAborted();
          }
          writeFileSync(join(copy, source), original);
        }),
      );
      return { target, survivors: survivors.toSorted((a, b) => a.line - b.line), count: mutants.length };
    },
    close: () => rmSync(dir, { recursive: true, force: true }),
  };
}
