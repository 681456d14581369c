// `npm run check:unit`: the tests that need no real part.
import { runFiles } from "./reporter.ts";
import { root, testFiles } from "./files.ts";

const { passed, failed } = await runFiles(testFiles("unit", process.argv.slice(2)), {
  concurrency: 2,
  timeoutMs: 120_000,
  root,
});
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
