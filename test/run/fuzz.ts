// `npm run fuzz`: hostile input for the readers of what others write.
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { setImmediate as nextTurn } from "node:timers/promises";
import { corpusOf, corpusDir } from "../fuzz/corpus.ts";
import { mutate, randomOf } from "../fuzz/mutate.ts";
import { type Finding, tryInput } from "../fuzz/target.ts";
import { targets } from "../fuzz/targets.ts";
import { runProgram, say, UsageError } from "./program.ts";

const usage = `npm run fuzz -- [--cases N] [--seed N] [TARGET...]

Gives each reader inputs that are made from good and bad ones: none may throw an error that it does not document, take over 100 ms, or say a plaintext.
What is found is kept in test/fuzz/corpus, and tried in every run of the tests.

  TARGET      ${targets.map(({ name }) => name).join(", ")}; all of them when none is given
  --cases N   inputs for each of them (100000)
  --seed N    which inputs; the same number gives the same ones (by the clock)
`;

function parse(args: string[]) {
  const { values, positionals } = parseArgs({
    args,
    options: {
      cases: { type: "string", default: "100000" },
      seed: { type: "string", default: String(Date.now() % 1_000_000_000) },
      help: { type: "boolean", short: "h", default: false },
    },
    allowPositionals: true,
  });
  if (values.help) return undefined;
  const unknown = positionals.filter((word) => !targets.some(({ name }) => name === word));
  if (unknown.length > 0) throw new UsageError(`there is no target ${unknown.join(", ")}`);
  const [cases, seed] = [Number(values.cases), Number(values.seed)];
  if (!Number.isSafeInteger(cases) || cases < 1 || !Number.isSafeInteger(seed))
    throw new UsageError("--cases and --seed must be whole numbers");
  return { cases, seed, chosen: targets.filter(({ name }) => positionals.length === 0 || positionals.includes(name)) };
}

/** Inputs of one reader that are kept in a run. */
const mostKept = 20;

/** Kept for every later run. */
function keep({ target, input, why }: Finding): void {
  const dir = join(corpusDir, target);
  mkdirSync(dir, { recursive: true });
  const file = join(dir, createHash("sha256").update(input).digest("hex").slice(0, 16));
  writeFileSync(file, input);
  say(`${target}: ${why}; the input is kept in ${file}`);
}

async function run(
  { cases, seed, chosen }: NonNullable<ReturnType<typeof parse>>,
  signal: AbortSignal,
): Promise<number> {
  say(`seed ${seed}`);
  let found = 0;
  for (const target of chosen) {
    const random = randomOf(seed);
    const corpus = corpusOf(target);
    const began = performance.now();
    let [done, here] = [0, 0];
    for (; done < cases && !signal.aborted; done += 1) {
      const finding = tryInput(target, mutate(corpus, random));
      if (finding !== undefined) {
        keep(finding);
        found += 1;
        // One that breaks at each input fills no disk.
        if ((here += 1) >= mostKept) break;
      }
      if (done % 5000 === 4999) await nextTurn();
    }
    const seconds = (performance.now() - began) / 1000;
    process.stdout.write(`${target.name}: ${done} cases, ${Math.round(done / seconds)} a second\n`);
  }
  signal.throwIfAborted();
  process.stdout.write(found === 0 ? "nothing found\n" : `${found} found\n`);
  return found === 0 ? 0 : 1;
}

await runProgram({ usage, parse, run });
