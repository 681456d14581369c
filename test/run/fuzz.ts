// `npm run fuzz`: hostile input for the readers of what others write, and for services that run.
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { parseArgs } from "node:util";
import { corpusDir, corpusOf } from "../fuzz/corpus.ts";
import { createInputs } from "../fuzz/inputs.ts";
import { services } from "../fuzz/services.ts";
import { describeReport, fuzzService, type Service } from "../fuzz/services/service.ts";
import { count, describeEnds, type Finding, type Target, tryInput } from "../fuzz/target.ts";
import { targets } from "../fuzz/targets.ts";
import { runProgram, say, UsageError } from "./program.ts";

const usage = `npm run fuzz -- [--cases N] [--seed N] [TARGET...]

Gives each reader inputs that are made from good and bad ones: none may throw an error that it does not document, take over 100 ms, or say a plaintext.
What is found is kept in test/fuzz/corpus, and tried in every run of the tests.
A service is started, and given such inputs at its socket or listener: it must live, within its memory, serve honest calls meanwhile, and keep its secrets out of logs and metrics.

  TARGET      a reader: ${targets.map(({ name }) => name).join(", ")};
              or a service: ${services.map(({ name }) => name).join(", ")};
              all readers when none is given
  --cases N   inputs for each of them (100000 for readers, 20000 for services)
  --seed N    which inputs; the same number gives the same ones (by the clock)
`;

function parse(args: string[]) {
  const { values, positionals } = parseArgs({
    args,
    options: {
      cases: { type: "string" },
      seed: { type: "string", default: String(Date.now() % 1_000_000_000) },
      help: { type: "boolean", short: "h", default: false },
    },
    allowPositionals: true,
  });
  if (values.help) return undefined;
  const unknown = positionals.filter((word) => ![...targets, ...services].some(({ name }) => name === word));
  if (unknown.length > 0) throw new UsageError(`there is no target ${unknown.join(", ")}`);
  const cases = values.cases === undefined ? undefined : Number(values.cases);
  const seed = Number(values.seed);
  if ((cases !== undefined && (!Number.isSafeInteger(cases) || cases < 1)) || !Number.isSafeInteger(seed))
    throw new UsageError("--cases and --seed must be whole numbers");
  const isChosen = ({ name }: { readonly name: string }): boolean => positionals.includes(name);
  return {
    cases,
    seed,
    readers: positionals.length === 0 ? targets : targets.filter(isChosen),
    services: services.filter(isChosen),
  };
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

type Run = { readonly cases: number; readonly seed: number; readonly signal: AbortSignal };

/** @returns how many inputs broke something */
async function runReader(target: Target, { cases, seed, signal }: Run): Promise<number> {
  const inputs = createInputs({ inputs: corpusOf(target), format: target.format }, seed);
  const began = performance.now();
  const ends = new Map<string, number>();
  let [done, found] = [0, 0];
  // One that breaks at each input fills no disk.
  for (; done < cases && found < mostKept && !signal.aborted; done += 1) {
    const { end, finding } = await tryInput(target, inputs.next());
    count(ends, end);
    if (finding !== undefined) {
      keep(finding);
      found += 1;
    }
    if (done % 5000 === 4999) await nextTurn();
  }
  const seconds = (performance.now() - began) / 1000;
  process.stdout.write(
    `${target.name}: ${done} cases, ${Math.round(done / seconds)} a second: ${describeEnds(ends)}\n`,
  );
  return found;
}

async function runService(service: Service, run: Run): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const running = await service.start(dir);
  try {
    const inputs = corpusOf({ name: service.name, seeds: () => running.inputs });
    const report = await fuzzService(
      { ...running, inputs },
      {
        ...run,
        onFinding: (input, why) => keep({ target: service.name, input, why }),
      },
    );
    process.stdout.write(`${service.name}: ${describeReport(report)}\n`);
    for (const finding of report.findings) say(`${service.name}: ${finding}`);
    return report.findings.length;
  } finally {
    await running.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

async function run(
  { cases, seed, readers, services: chosen }: NonNullable<ReturnType<typeof parse>>,
  signal: AbortSignal,
): Promise<number> {
  say(`seed ${seed}`);
  let found = 0;
  for (const reader of readers) found += await runReader(reader, { cases: cases ?? 100_000, seed, signal });
  for (const service of chosen) {
    signal.throwIfAborted();
    found += await runService(service, { cases: cases ?? 20_000, seed, signal });
  }
  signal.throwIfAborted();
  process.stdout.write(found === 0 ? "nothing found\n" : `${found} found\n`);
  return found === 0 ? 0 : 1;
}

await runProgram({ usage, parse, run });
