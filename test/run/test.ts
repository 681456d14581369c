// `npm test`: everything that CI runs. `npm test -- PATTERN ...` runs the test files whose path
// contains one; `--repeat N` runs them N times, `--busy N` beside N loops that each take a core,
// which is how a flaky test is found. `npm run test:full`: full durations.
import { spawn } from "node:child_process";
import { parseArgs } from "node:util";
import { installBinaries } from "../parts/install.ts";
import { root, testFiles } from "./files.ts";
import { type Count, runFiles } from "./reporter.ts";

const steps = [
  "check:types",
  "check:packages",
  "check:lint",
  "check:format",
  "check:generated",
  "check:schema",
  "check:docs",
] as const;

function isTimed(file: string): boolean {
  return /\/(chaos|threat-model|conformance|storm|propagation|dead|flood|takeover|deadlines)\b/.test(file);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

const stopping = new AbortController();
const { signal } = stopping;
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => stopping.abort());

/** One script of package.json; its output is shown when it fails. */
function runStep(script: string): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn("npm", ["run", "--silent", script], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    const output: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => output.push(chunk));
    signal.addEventListener("abort", () => child.kill("SIGTERM"), { once: true });
    child.once("close", (code) => {
      say(`${code === 0 ? "  ok  " : "FAILED"} npm run ${script}`);
      if (code !== 0) say(Buffer.concat(output).toString());
      resolve(code === 0);
    });
  });
}

const { values, positionals } = parseArgs({
  options: {
    full: { type: "boolean", default: false },
    repeat: { type: "string", default: "1" },
    busy: { type: "string", default: "0" },
  },
  allowPositionals: true,
});
const [repeat, busy] = [Number(values.repeat), Number(values.busy)];
if (!Number.isInteger(repeat) || repeat < 1 || !Number.isInteger(busy) || busy < 0 || busy > 64) {
  say("--repeat takes a whole number from 1 on, --busy one from 0 to 64");
  process.exit(2);
}
if (values.full) process.env["CLAVIGER_TEST_FULL"] = "1";
const began = Date.now();
const counts: Count[] = [];
function count(passed: boolean): void {
  counts.push({ passed: passed ? 1 : 0, failed: passed ? 0 : 1 });
}

/** A loop that takes a core. It ends with its standard input, so with this process at the latest. */
const busyLoop = `process.stdin.resume().on("end", () => process.exit()); const on = () => {
  for (const end = Date.now() + 20; Date.now() < end; );
  setImmediate(on);
}; on();`;
const loops = Array.from({ length: busy }, () =>
  spawn(process.execPath, ["--eval", busyLoop], { stdio: ["pipe", "ignore", "ignore"] }),
);

// Only what the chosen tests need: the unit tests need no real part.
const unit = testFiles("unit", positionals);
const real = testFiles("real", positionals);
if (positionals.length === 0) for (const step of steps) if (!signal.aborted) count(await runStep(step));
async function runAll(): Promise<void> {
  if (unit.length > 0) {
    say(`\nUnit tests (${unit.length} files)`);
    counts.push(await runFiles(unit, { concurrency: 2, timeoutMs: 120_000, root, signal }));
  }
  if (real.length === 0 || signal.aborted) return;
  say(`\nTests with the real parts (${real.length} files)`);
  const timeoutMs = values.full ? 3_600_000 : 600_000;
  // What measures times or rates has the machine for itself; the others mostly wait, and do so
  // three at a time.
  const [timed, others] = [real.filter(isTimed), real.filter((file) => !isTimed(file))];
  if (timed.length > 0) counts.push(await runFiles(timed, { concurrency: 1, timeoutMs, root, signal }));
  if (!signal.aborted && others.length > 0)
    counts.push(await runFiles(others, { concurrency: 3, timeoutMs, root, signal }));
}

try {
  // SOPS, External Secrets and OpenTofu take minutes to build: for CI, which runs all that wants them.
  const isAll = process.env["CI"] === "true" && real.some((file) => /\/threat-model\/|\/infra\/tofu/.test(file));
  if (real.length > 0) await installBinaries({ signal, isAll });
  for (let round = 1; round <= repeat && !signal.aborted; round++) {
    if (repeat > 1) say(`\nRound ${round} of ${repeat}`);
    await runAll();
  }
} catch (error) {
  say(`FAILED the test binaries: ${error instanceof Error ? error.message : String(error)}`);
  count(false);
}
for (const loop of loops) loop.stdin.end();

const passed = counts.reduce((sum, one) => sum + one.passed, 0);
const failed = counts.reduce((sum, one) => sum + one.failed, 0);
const advice = signal.aborted
  ? "Stopped before the end."
  : failed > 0
    ? "See above for what failed; 'npm test -- PATTERN' runs single files."
    : passed === 0
      ? "No test matched."
      : "Next: 'npm run demo' shows the main job.";
say(`\n${Math.round((Date.now() - began) / 1000)} s. ${advice}`);
say(`${passed} passed, ${failed} failed`);
process.exit(signal.aborted ? 130 : failed === 0 && passed > 0 ? 0 : 1);
