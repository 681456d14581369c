// How test runs look: a line per test as it ends, what failed at the end, and numbers for the
// closing line.
import { relative } from "node:path";
import { run } from "node:test";
import { inspect } from "node:util";

export type Count = { readonly passed: number; readonly failed: number };

type Failure = { readonly name: string; readonly file: string; readonly error: unknown };

type Ended = {
  readonly name: string;
  readonly file?: string | undefined;
  readonly details: { readonly duration_ms: number; readonly type?: string | undefined; readonly error?: unknown };
  readonly skip?: string | boolean | undefined;
  readonly todo?: string | boolean | undefined;
};

function causeOf(error: unknown): unknown {
  return error instanceof Error && error.cause !== undefined ? error.cause : error;
}

/**
 * Runs test files with node:test, each in a process of its own.
 * @param concurrency how many files at once
 * @param timeoutMs for one file
 * @param signal ends what runs; a file's own children are ended by the watchdog of test/lab
 */
export async function runFiles(
  files: readonly string[],
  {
    concurrency,
    timeoutMs,
    root,
    signal,
  }: { readonly concurrency: number; readonly timeoutMs: number; readonly root: string; readonly signal?: AbortSignal },
): Promise<Count> {
  let passed = 0;
  const failures: Failure[] = [];
  const began = Date.now();
  const say = (text: string): void => {
    process.stdout.write(`${text}\n`);
  };
  let lastLine = Date.now();
  const tick = setInterval(() => {
    if (Date.now() - lastLine > 14_000) say(`  ... ${Math.round((Date.now() - began) / 1000)} s`);
  }, 15_000);
  const stream = run({
    files: [...files],
    concurrency,
    timeout: timeoutMs,
    forceExit: false,
    ...(signal !== undefined && { signal }),
  });
  const finish = (event: Ended, isPass: boolean): void => {
    const file = event.file === undefined ? "" : relative(root, event.file);
    // A suite stands for its tests, and so does a file: neither is counted beside them, unless it
    // failed by itself.
    const isGroup =
      event.details.type === "suite" ||
      files.some((one) => one === event.name || relative(root, one) === event.name || one.endsWith(event.name));
    if (isGroup && (isPass || /subtests? failed/.test(String(causeOf(event.details.error))))) return;
    // A test that was skipped has not passed: it is counted as failed.
    const isSkipped = event.skip !== undefined || event.todo !== undefined;
    const ok = isPass && !isSkipped;
    lastLine = Date.now();
    say(`${ok ? "  ok  " : "FAILED"} ${event.name} (${Math.round(event.details.duration_ms)} ms)`);
    if (ok) passed += 1;
    else failures.push({ name: event.name, file, error: isSkipped ? new Error("skipped") : event.details.error });
  };
  // The stream's own type loses the connection between a type and its data.
  for await (const event of stream as AsyncIterable<{ readonly type: string; readonly data: unknown }>) {
    if (event.type === "test:pass" || event.type === "test:fail")
      finish(event.data as Ended, event.type === "test:pass");
    else if (event.type === "test:stderr" || event.type === "test:stdout")
      process.stderr.write((event.data as { readonly message: string }).message);
  }
  clearInterval(tick);
  for (const { name, file, error } of failures)
    say(`\nFAILED ${file}: ${name}\n${inspect(causeOf(error), { depth: 6 })}`);
  return { passed, failed: failures.length };
}
